"""An ONNX graph, built one operator at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Value = str | NDArray[Any]
"""The name of a tensor, or a constant."""


class Graph:
    """An ONNX graph under construction.

    Attributes:
        nodes: The operators so far.
        initializers: The constants that they use.
        narrow: Tensors with axes of size 1 where JAX has more; elementwise operators broadcast
            them.
    """

    def __init__(self) -> None:
        """Starts an empty graph."""
        from onnx import helper, numpy_helper

        self._helper = helper
        self._to_tensor = numpy_helper.from_array
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._count = 0
        self._transposed: dict[str, tuple[str, tuple[int, ...]]] = {}
        self.narrow: set[str] = set()

    def add(self, operator: str, *inputs: Value, **attributes: Any) -> str:
        """Adds an operator and returns the name of its output."""
        if operator == "Transpose":
            return self._transpose(inputs[0], tuple(attributes["perm"]))
        return self._add(operator, inputs, attributes)

    def integers(self, values: Sequence[int]) -> NDArray[np.int64]:
        """Makes a constant of shapes or axes, as operators take them."""
        return np.asarray(values, np.int64)

    def finish(self, value: Value, name: str) -> None:
        """Names a result."""
        self.nodes.append(self._helper.make_node("Identity", [self._name(value)], [name]))

    def widen(self, value: Value, shape: Sequence[Any]) -> Value:
        """Broadcasts a tensor to the shape that it has in JAX, except for the batch axis."""
        sizes = [size if isinstance(size, int) else 1 for size in shape]
        if not isinstance(value, str):
            return np.broadcast_to(value, np.broadcast_shapes(value.shape, tuple(sizes)))
        return self.add("Expand", value, self.integers(sizes)) if value in self.narrow else value

    def _add(self, operator: str, inputs: Sequence[Value], attributes: dict[str, Any]) -> str:
        self._count += 1
        output = f"{operator.lower()}_{self._count}"
        names = [self._name(value) for value in inputs]
        node = self._helper.make_node(operator, names, [output], name=output, **attributes)
        self.nodes.append(node)
        return output

    def _transpose(self, value: Value, order: tuple[int, ...]) -> str:
        """Adds a transposition; one that undoes an earlier one returns the original tensor."""
        name = self._name(value)
        before, first = self._transposed.get(name, (name, tuple(range(len(order)))))
        whole = tuple(first[axis] for axis in order)
        if whole == tuple(range(len(order))):
            return before
        output = self._add("Transpose", [before], {"perm": whole})
        self._transposed[output] = (before, whole)
        return output

    def _name(self, value: Value) -> str:
        if isinstance(value, str):
            return value
        self._count += 1
        name = f"constant_{self._count}"
        self.initializers.append(self._to_tensor(np.asarray(value, order="C"), name))
        return name
