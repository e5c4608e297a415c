"""The ONNX operators for each JAX operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from resnet_jax.errors import ConfigError
from resnet_jax.inference.onnx.graph import Graph, Value

Operator = Callable[[Graph, Any, list[Value]], Value]


def _same(name: str) -> Operator:
    """An operation that ONNX has under another name, with NumPy's broadcasting."""

    def operator(graph: Graph, _: Any, values: list[Value]) -> Value:
        return graph.add(name, *values)

    return operator


def _convert(graph: Graph, equation: Any, values: list[Value]) -> Value:
    from onnx.helper import np_dtype_to_tensor_dtype

    to = np_dtype_to_tensor_dtype(np.dtype(equation.params["new_dtype"]))
    return graph.add("Cast", values[0], to=to)


def _rsqrt(graph: Graph, _: Any, values: list[Value]) -> Value:
    return graph.add("Reciprocal", graph.add("Sqrt", values[0]))


def _square(graph: Graph, _: Any, values: list[Value]) -> Value:
    return graph.add("Mul", values[0], values[0])


def _power(graph: Graph, equation: Any, values: list[Value]) -> Value:
    exponent = np.asarray(equation.params["y"], equation.invars[0].aval.dtype)
    return graph.add("Pow", values[0], exponent)


def _select(graph: Graph, equation: Any, values: list[Value]) -> Value:
    _require(len(values) == 3, equation)
    which, otherwise, where = values
    return graph.add("Where", which, where, otherwise)


def _broadcast(graph: Graph, equation: Any, values: list[Value]) -> Value:
    """Adds the missing axes to a value; the operators that use it broadcast the rest."""
    (value,) = values[:1]
    kept = equation.params["broadcast_dimensions"]
    shape = equation.params["shape"]
    if isinstance(value, np.ndarray):
        sizes = dict(zip(kept, value.shape, strict=True))
        return value.reshape([sizes.get(axis, 1) for axis in range(len(shape))])
    added = [axis for axis in range(len(shape)) if axis not in kept]
    return graph.add("Unsqueeze", value, graph.integers(added)) if added else value


def _reshape(graph: Graph, equation: Any, values: list[Value]) -> Value:
    sizes = [size if isinstance(size, int) else -1 for size in equation.params["new_sizes"]]
    return graph.add("Reshape", values[0], graph.integers(sizes))


def _squeeze(graph: Graph, equation: Any, values: list[Value]) -> Value:
    return graph.add("Squeeze", values[0], graph.integers(equation.params["dimensions"]))


def _transpose(graph: Graph, equation: Any, values: list[Value]) -> Value:
    return graph.add("Transpose", values[0], perm=list(equation.params["permutation"]))


def _sum(graph: Graph, equation: Any, values: list[Value]) -> Value:
    return graph.add("ReduceSum", values[0], graph.integers(equation.params["axes"]), keepdims=0)


def _largest(graph: Graph, equation: Any, values: list[Value]) -> Value:
    return graph.add("ReduceMax", values[0], axes=list(equation.params["axes"]), keepdims=0)


def _slice(graph: Graph, equation: Any, values: list[Value]) -> Value:
    params, shape = equation.params, equation.invars[0].aval.shape
    steps = params["strides"] or (1,) * len(shape)
    bounds = zip(params["start_indices"], params["limit_indices"], steps, strict=True)
    cut = [
        (axis, *bound)
        for axis, (bound, size) in enumerate(zip(bounds, shape, strict=True))
        if bound != (0, size, 1)
    ]
    if not cut:
        return values[0]
    axes, starts, limits, steps = (graph.integers(column) for column in zip(*cut, strict=True))
    return graph.add("Slice", values[0], starts, limits, axes, steps)


def _reverse(graph: Graph, equation: Any, values: list[Value]) -> Value:
    axes = graph.integers(equation.params["dimensions"])
    end = np.full_like(axes, np.iinfo(np.int64).min)
    return graph.add("Slice", values[0], -np.ones_like(axes), end, axes, -np.ones_like(axes))


def _concatenate(graph: Graph, equation: Any, values: list[Value]) -> Value:
    return graph.add("Concat", *values, axis=equation.params["dimension"])


def _pad(graph: Graph, equation: Any, values: list[Value]) -> Value:
    low, high, inner = zip(*equation.params["padding_config"], strict=True)
    _require(not any(inner), equation)
    return graph.add("Pad", values[0], graph.integers([*low, *high]), values[1])


def _matrix_product(graph: Graph, equation: Any, values: list[Value]) -> Value:
    contracted, batched = equation.params["dimension_numbers"]
    left, right = (var.aval.ndim for var in equation.invars)
    _require(right == 2 and contracted == ((left - 1,), (0,)) and batched == ((), ()), equation)
    return graph.add("MatMul", *values)


def _convolution(graph: Graph, equation: Any, values: list[Value]) -> Value:
    params = equation.params
    numbers = params["dimension_numbers"]
    _require(set(params["lhs_dilation"]) == {1} and params["batch_group_count"] == 1, equation)
    images, kernel = values
    if isinstance(kernel, np.ndarray):
        kernel = kernel.transpose(numbers.rhs_spec)
    else:
        kernel = graph.add("Transpose", kernel, perm=numbers.rhs_spec)
    low, high = zip(*params["padding"], strict=True)
    result = graph.add(
        "Conv",
        graph.add("Transpose", images, perm=numbers.lhs_spec),
        kernel,
        strides=list(params["window_strides"]),
        pads=[*low, *high],
        dilations=list(params["rhs_dilation"]),
        group=params["feature_group_count"],
    )
    return graph.add("Transpose", result, perm=np.argsort(numbers.out_spec).tolist())


def _window(graph: Graph, equation: Any, values: list[Value], operator: str, **more: Any) -> Value:
    """Pools windows [1, rows, columns, 1]."""
    params = equation.params
    window, strides = params["window_dimensions"], params["window_strides"]
    plain = {*params["base_dilation"], *params["window_dilation"]} == {1}
    _require(plain and len(window) == 4 and window[0] == window[3] == 1, equation)
    _require(strides[0] == strides[3] == 1, equation)
    low, high = zip(*params["padding"][1:3], strict=True)
    pooled = graph.add(
        operator,
        graph.add("Transpose", values[0], perm=(0, 3, 1, 2)),
        kernel_shape=list(window[1:3]),
        strides=list(strides[1:3]),
        pads=[*low, *high],
        **more,
    )
    return graph.add("Transpose", pooled, perm=(0, 2, 3, 1))


def _max_pool(graph: Graph, equation: Any, values: list[Value]) -> Value:
    return _window(graph, equation, values, "MaxPool")


def _sum_pool(graph: Graph, equation: Any, values: list[Value]) -> Value:
    mean = _window(graph, equation, values, "AveragePool", count_include_pad=1)
    count = np.prod(equation.params["window_dimensions"])
    return graph.add("Mul", mean, np.asarray(count, equation.invars[0].aval.dtype))


def _gather(graph: Graph, equation: Any, values: list[Value]) -> Value:
    """Selects rows, columns and the like by constant indices, one axis after the other."""
    numbers = equation.params["dimension_numbers"]
    places, axes = values[1], numbers.start_index_map
    _require(isinstance(places, np.ndarray), equation)
    _require(numbers.collapsed_slice_dims == axes and not numbers.operand_batching_dims, equation)
    assert isinstance(places, np.ndarray)
    shape, result = equation.invars[0].aval.shape, values[0]
    whole = [size for axis, size in enumerate(shape) if axis not in axes]
    sizes = [s for axis, s in enumerate(equation.params["slice_sizes"]) if axis not in axes]
    _require(whole == sizes, equation)
    if places.ndim == 1:  # a single element: the axes disappear
        for axis, place in sorted(zip(axes, places, strict=True), reverse=True):
            result = graph.add("Gather", result, np.asarray(place, np.int64), axis=axis)
        return result
    lines = [
        places[(0,) * at + (slice(None),) + (0,) * (len(axes) - 1 - at) + (at,)]
        for at in range(len(axes))
    ]
    grid = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)
    _require(places.shape == grid.shape and bool((places == grid).all()), equation)
    _require(set(numbers.offset_dims).isdisjoint(axes), equation)
    for axis, line in zip(axes, lines, strict=True):
        result = graph.add("Gather", result, line.astype(np.int64), axis=axis)
    return result


def _require(condition: bool, equation: Any) -> None:
    if not condition:
        raise ConfigError(
            f"this network cannot be written as ONNX: it holds a {equation.primitive.name!r} of an "
            "unusual kind; write *.stablehlo"
        )


ELEMENTWISE: Mapping[str, Operator] = {
    "abs": _same("Abs"),
    "add": _same("Add"),
    "convert_element_type": _convert,
    "copy": _same("Identity"),
    "div": _same("Div"),
    "erf": _same("Erf"),
    "exp": _same("Exp"),
    "gt": _same("Greater"),
    "integer_pow": _power,
    "log": _same("Log"),
    "logistic": _same("Sigmoid"),
    "lt": _same("Less"),
    "compute_once": _same("Identity"),
    "max": _same("Max"),
    "min": _same("Min"),
    "mul": _same("Mul"),
    "neg": _same("Neg"),
    "rsqrt": _rsqrt,
    "select_n": _select,
    "sqrt": _same("Sqrt"),
    "square": _square,
    "sub": _same("Sub"),
    "tanh": _same("Tanh"),
}
OPERATORS: Mapping[str, Operator] = {
    **ELEMENTWISE,
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "conv_general_dilated": _convolution,
    "dot_general": _matrix_product,
    "gather": _gather,
    "pad": _pad,
    "reduce_max": _largest,
    "reduce_sum": _sum,
    "reduce_window_max": _max_pool,
    "reduce_window_sum": _sum_pool,
    "reshape": _reshape,
    "rev": _reverse,
    "slice": _slice,
    "squeeze": _squeeze,
    "transpose": _transpose,
}
