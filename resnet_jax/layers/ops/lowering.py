"""Gives a function a CPU-specific form, without any effect on other platforms.

Both operations here can be batched and differentiated like any other, to any order if they are
linear or bilinear. The program for a GPU or a TPU is exactly the same as without them; on a CPU,
results may differ by rounding.

They step aside, so that nothing but JAX's own operations is left, where

- `RESNET_JAX_CPU_FORMS=0` is in the environment; this module reads it on import;
- arrays have a sharding in their type (a mesh with axes of the type `Explicit`), since a form for
  CPUs would have to say for each of its operations how the result is sharded;
- `jax.disable_jit` or `jax.debug_nans` ask for one operation after the other, outside of `jit`.
"""

from __future__ import annotations

import contextvars
import dataclasses
import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import AxisType

from resnet_jax.layers.ops.forms import Bilinear, Forms, transpose

SWITCH = "RESNET_JAX_CPU_FORMS"
"""The environment variable that turns the CPU-specific forms on ("1", the default) or off ("0")."""


def compute_once(x: jax.Array) -> jax.Array:
    """Returns x, and makes sure that a CPU computes it only once.

    On CPUs, XLA duplicates cheap operations into every fusion that uses their result. A convolution
    is followed by a norm, an activation and a sum. The next convolution, its gradients (in another
    order of the axes, which is slow) and the next sum all use the result, so a network repeats most
    of its elementwise work several times. `jax.lax.optimization_barrier` does not help: on CPUs it
    is removed before fusion.
    """
    return compute_once_p.bind(x) if _have_own_form(x) else x


def per_platform(function: Forms, *arguments: jax.Array) -> jax.Array:
    """Computes a function in the form for the platform that it is compiled for.

    `jax.lax.platform_dependent` does the same for any function, but its gradients would keep the
    residuals of all forms on every platform.

    Args:
        function: Its forms return the same shape and dtype. To be differentiated, it must be
            bilinear, or linear in its second argument, with `jax.lax.stop_gradient` around the
            first.
        *arguments: The arguments of the function.
    """
    if not _have_own_form(*arguments):
        return function.default(*arguments)
    return per_platform_p.bind(*arguments, function=function)


def _have_own_form(*arguments: jax.Array) -> bool:
    """Whether operations on these arrays can have a form for CPUs; see the top of this file."""
    if not _SWITCHED_ON:
        return False
    meshes = [jax.typeof(array).sharding.mesh for array in arguments]
    return not any(AxisType.Explicit in mesh.axis_types for mesh in meshes)


def devices() -> int:
    """Returns how many devices share the program being compiled; for use in `Forms.cpu`."""
    return _devices.get()


def default_jaxpr(equation: Any) -> Any:
    """Expands a `per_platform` equation of a jaxpr into JAX's own operations."""
    inputs = [jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype) for var in equation.invars]
    return jax.make_jaxpr(equation.params["function"].default)(*inputs)


def _is_switched_on() -> bool:
    wish = os.environ.get(SWITCH, "1").lower()
    if wish not in ("0", "1", "off", "on"):
        raise ValueError(f"{SWITCH}={wish!r} in the environment: write 0 or 1")
    return wish in ("1", "on")


_SWITCHED_ON = _is_switched_on()


@jax.jit
def _identity(x: jax.Array) -> jax.Array:
    return x


def _call_identity(x: jax.Array) -> jax.Array:
    with set_xla_metadata(inlineable="false"):  # fusion stops at a call
        return _identity(x)


compute_once_p = Primitive("compute_once")
compute_once_p.def_impl(lambda x: x)
compute_once_p.def_abstract_eval(lambda x: x)
ad.deflinear2(
    compute_once_p,
    lambda cotangent, _: [cotangent if type(cotangent) is ad.Zero else compute_once(cotangent)],
)
batching.defvectorized(compute_once_p)
mlir.register_lowering(compute_once_p, lambda _, x: [x])


@dataclasses.dataclass(frozen=True)
class _Gradient(Bilinear):
    """The gradient by one argument, as a function of the other and of the output's gradient."""

    function: Bilinear
    argument: int
    like: Any

    def cpu(self, x: jax.Array, y: jax.Array) -> jax.Array:
        gradient = self.function.cpu_gradient(self.argument, self.like, x, y)
        if jax.typeof(gradient) == self.like:
            return gradient
        # In `jax.shard_map`, an argument that all devices share gets the sum of their gradients:
        # the transpose of the copies that they make of it.
        where = jnp.isfinite(gradient)
        copy = jax.linear_transpose(lambda value: jnp.where(where, value, value), self.like)
        shared: jax.Array
        (shared,) = copy(gradient)
        return shared

    def gpu(self, *arguments: jax.Array) -> jax.Array:
        return transpose(self.function.gpu, self.argument, self.like, *arguments)

    def tpu(self, *arguments: jax.Array) -> jax.Array:
        return transpose(self.function.tpu, self.argument, self.like, *arguments)

    def default(self, x: jax.Array, y: jax.Array) -> jax.Array:
        return transpose(self.function.default, self.argument, self.like, x, y)


@dataclasses.dataclass(frozen=True)
class _Batched(Bilinear):
    """A function mapped over an axis of some arguments.

    A function that is not bilinear stays so, and raises an error when differentiated.
    """

    function: Any
    axes: tuple[int | None, ...]

    def cpu(self, *arguments: jax.Array) -> jax.Array:
        return jax.vmap(self.function.cpu, self.axes)(*arguments)

    def cpu_gradient(self, argument: int, like: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        axis, axes = self.axes[argument], list(self.axes)
        axes[argument] = 0
        shape = [size for number, size in enumerate(like.shape) if number != axis]
        each = functools.partial(
            self.function.cpu_gradient, argument, jax.ShapeDtypeStruct(shape, like.dtype)
        )
        gradients = jax.vmap(each, axes)(x, y)
        return jnp.sum(gradients, 0) if axis is None else jnp.moveaxis(gradients, 0, axis)

    def gpu(self, *arguments: jax.Array) -> jax.Array:
        return jax.vmap(self.function.gpu, self.axes)(*arguments)

    def tpu(self, *arguments: jax.Array) -> jax.Array:
        return jax.vmap(self.function.tpu, self.axes)(*arguments)

    def default(self, *arguments: jax.Array) -> jax.Array:
        return jax.vmap(self.function.default, self.axes)(*arguments)

    def differentiated(self) -> Bilinear:
        return _Batched(self.function.differentiated(), self.axes)


def _transpose_x(cotangent: jax.Array, x: Any, y: jax.Array, *, function: Bilinear) -> jax.Array:
    return per_platform(_Gradient(function, 0, x.aval), cotangent, y)


def _transpose_y(cotangent: jax.Array, x: jax.Array, y: Any, *, function: Bilinear) -> jax.Array:
    return per_platform(_Gradient(function, 1, y.aval), x, cotangent)


def _batch(arguments: Any, axes: Any, *, function: Forms) -> tuple[jax.Array, int]:
    return per_platform(_Batched(function, tuple(axes)), *arguments), 0


per_platform_p = Primitive("per_platform")
_run = functools.partial(jax.jit, static_argnames="function")(per_platform_p.bind)


@per_platform_p.def_impl  # type: ignore[untyped-decorator]  # JAX has no types for it
def _evaluate(*arguments: jax.Array, function: Forms) -> jax.Array:
    """Computes it outside of `jit`, in JAX's own operations where these are looked at one by one.

    A NaN is then found in the operation that made it, such as `conv_general_dilated`.
    """
    config = jax.config
    if config.jax_disable_jit or config.jax_debug_nans or config.jax_debug_infs:  # type: ignore[attr-defined]
        return function.default(*arguments)
    result: jax.Array = _run(*arguments, function=function)
    return result


per_platform_p.def_abstract_eval(
    lambda *avals, function: jax.make_jaxpr(function.default)(*avals).out_avals[0]
)
ad.defbilinear(per_platform_p, _transpose_x, _transpose_y)
_jvp_of_the_same = ad.primitive_jvps[per_platform_p]


def _jvp(primals: Any, tangents: Any, *, function: Forms) -> Any:
    """Uses the form for differentiation, for both the value and the derivative."""
    return _jvp_of_the_same(primals, tangents, function=function.differentiated())


ad.primitive_jvps[per_platform_p] = _jvp
batching.primitive_batchers[per_platform_p] = _batch


def _lower_for_cpu(context: Any, *values: Any, function: Forms) -> Any:
    count = getattr(context.module_context.axis_context, "num_devices", 1)
    token = _devices.set(count or 1)
    try:
        return _lower_cpu(context, *values, function=function)
    finally:
        _devices.reset(token)


_devices: contextvars.ContextVar[int] = contextvars.ContextVar("devices", default=1)
_lower_cpu = mlir.lower_fun(
    lambda *arguments, function: function.cpu(*arguments), multiple_results=False
)
mlir.register_lowering(
    per_platform_p,
    mlir.lower_fun(
        lambda *arguments, function: function.default(*arguments), multiple_results=False
    ),
)
mlir.register_lowering(
    per_platform_p,
    mlir.lower_fun(lambda *arguments, function: function.gpu(*arguments), multiple_results=False),
    platform="gpu",
)
mlir.register_lowering(
    per_platform_p,
    mlir.lower_fun(lambda *arguments, function: function.tpu(*arguments), multiple_results=False),
    platform="tpu",
)


mlir.register_lowering(
    compute_once_p, mlir.lower_fun(_call_identity, multiple_results=False), platform="cpu"
)
mlir.register_lowering(per_platform_p, _lower_for_cpu, platform="cpu")
