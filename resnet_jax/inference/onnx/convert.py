"""Converts a function of images to an ONNX model, one JAX operation after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

import resnet_jax
from resnet_jax.errors import ConfigError
from resnet_jax.inference.onnx.graph import Graph, Value
from resnet_jax.inference.onnx.operators import ELEMENTWISE, OPERATORS
from resnet_jax.layers.ops import default_jaxpr
from resnet_jax.plain_json import json_text

OPSET = 17
IR_VERSION = 8  # the oldest that carries this opset

# Primitives that only call a function. Loops and reductions have one too, but are not calls.
_CALLS = {
    "checkpoint",
    "closed_call",
    "core_call",
    "custom_jvp_call",
    "custom_vjp_call",
    "jit",
    "pjit",
    "remat",
    "remat2",
}


def to_onnx(
    function: Callable[[jax.Array], jax.Array],
    image: jax.ShapeDtypeStruct,
    *,
    properties: Mapping[str, Any] | None = None,
) -> bytes:
    """Converts a function of a batch of images, for any batch size.

    Args:
        function: Maps [batch, height, width, channels] to [batch, classes].
        image: Shape and dtype of one image.
        properties: Plain values for the model's metadata, where they are JSON.

    Returns:
        A serialised ONNX model with the input `images` and the output `logits`.

    Raises:
        ConfigError: onnx is not installed, or the function uses an unsupported operation.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise ConfigError("ONNX needs the package onnx: pip install 'resnet-jax[onnx]'") from None
    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *image.shape), image.dtype)
    closed = jax.make_jaxpr(function)(images)
    graph = Graph()
    (result,) = convert(closed.jaxpr, closed.consts, ["images"], graph)
    graph.finish(result, "logits")
    (logits,) = closed.out_avals
    made = onnx.helper.make_graph(
        graph.nodes,
        "classifier",
        [_described("images", image.dtype, image.shape)],
        [_described("logits", logits.dtype, logits.shape[1:])],
        graph.initializers,
    )
    model = onnx.helper.make_model(
        made,
        producer_name="resnet-jax",
        producer_version=resnet_jax.__version__,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    texts = {name: json_text(value) for name, value in (properties or {}).items()}
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _described(name: str, dtype: Any, shape: Sequence[int]) -> Any:
    """Describes an input or output whose first axis is the batch."""
    from onnx import helper

    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, element, ["batch", *shape])


def convert(
    jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Value], graph: Graph
) -> list[Value]:
    """Adds the operations of a jaxpr to a graph.

    Operations on constants are computed at once.

    Args:
        jaxpr: An open jaxpr.
        consts: Its constants.
        inputs: Its arguments.
        graph: The graph to add to.

    Returns:
        Its results.

    Raises:
        ConfigError: An operation is not supported.
    """
    known: dict[Any, Value] = dict(zip(jaxpr.invars, inputs, strict=True))
    known |= {var: np.asarray(value) for var, value in zip(jaxpr.constvars, consts, strict=True)}

    def read(var: Any) -> Value:
        if hasattr(var, "val"):  # a literal
            return np.asarray(var.val, var.aval.dtype)
        return known[var]

    for equation in jaxpr.eqns:
        values = [read(var) for var in equation.invars]
        name = equation.primitive.name
        if name in _CALLS or name == "per_platform":
            inner = equation.params.get("call_jaxpr", equation.params.get("jaxpr"))
            inner = default_jaxpr(equation) if inner is None else inner
            body, extra = (inner.jaxpr, inner.consts) if hasattr(inner, "jaxpr") else (inner, [])
            results = convert(body, extra, values, graph)
        elif all(isinstance(value, np.ndarray) for value in values) and _is_fixed(equation):
            computed = equation.primitive.bind(*values, **equation.params)
            many = computed if equation.primitive.multiple_results else [computed]
            results = [np.asarray(value) for value in many]
        elif name in OPERATORS:
            results = [_operate(graph, equation, values)]
        else:
            raise ConfigError(
                f"this network cannot be written as ONNX: it holds {name!r}; write *.stablehlo"
            )
        known |= dict(zip(equation.outvars, results, strict=True))
    return [read(var) for var in jaxpr.outvars]


def _operate(graph: Graph, equation: Any, values: list[Value]) -> Value:
    name = equation.primitive.name
    if name == "broadcast_in_dim" or name in ELEMENTWISE:
        computed = [value for value in values if isinstance(value, str)]
        result = OPERATORS[name](graph, equation, values)
        if isinstance(result, str) and (
            name not in ELEMENTWISE or graph.narrow.issuperset(computed)
        ):
            graph.narrow.add(result)
        return result
    shapes = [var.aval.shape for var in equation.invars]
    wide = [graph.widen(value, shape) for value, shape in zip(values, shapes, strict=True)]
    return OPERATORS[name](graph, equation, wide)


def _is_fixed(equation: Any) -> bool:
    """Whether the results and their shapes are independent of the batch size."""
    return equation.primitive.name != "dim_as_value" and all(
        isinstance(size, int) for var in equation.outvars for size in var.aval.shape
    )
