"""Modules with random parameters, in a few compiled programs."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from resnet_jax.errors import ConfigError
from resnet_jax.layers import Supply, supplied
from resnet_jax.layers.ops import (
    compute_once,
    constant_outputs,
    draws_by_index,
    inputs_of_outputs,
    normal_numbers,
    run_part,
)

M = TypeVar("M", bound=nnx.Module)
# Random numbers that are drawn before parameters are made of them: this many, or an eighth of all.
GROUP = 2**25


class _Group(NamedTuple):
    """Parameters that are made together.

    Attributes:
        leaves: Their numbers in the module.
        first: The first array of random numbers that they need.
        last: The last one.
    """

    leaves: list[int]
    first: int
    last: int


def params_key(rngs: nnx.Rngs | None) -> jax.Array:
    """Returns the key `params` of `rngs`; of None that of `nnx.Rngs(0)`.

    Raises:
        ConfigError: `rngs` is no `nnx.Rngs`.
    """
    if rngs is None:
        rngs = nnx.Rngs(0)
    if not hasattr(rngs, "params"):
        kind = type(rngs).__name__  # what a key prints has two lines
        raise ConfigError(
            f"rngs has the type {kind}, not an nnx.Rngs; nnx.Rngs takes a seed or a key."
        )
    return rngs.params()


def initialize(
    build: Callable[..., M], key: jax.Array, *, only: Callable[[Any], bool] | None = None
) -> M:
    """Builds a module in a few compiled programs, instead of operation by operation.

    The first draws normal numbers for the initialisers of `resnet_jax.layers`, and the others cut
    them up: compiling a generator for each shape of kernel would take several times as long as
    everything else. They take turns, group by group, so that memory holds the parameters and the
    numbers of one group. Inside of `jax.jit` there is one group, as a part of that program.
    The parameters of one key differ from those of `build(rngs=nnx.Rngs(key))`; their distributions
    are the same. They depend on the key and the module alone, up to rounding: neither on the
    platform nor on the number of devices, nor on the groups.

    Args:
        build: `build(rngs=nnx.Rngs(...))` returns the module. Other initialisers than those of
            `resnet_jax.layers` draw from the key as usual.
        key: The key of the parameters.
        only: `(path) -> bool`, which parameters and statistics are made; the others stay without
            values, as `nnx.eval_shape` leaves them. None makes all.
    """
    counted = Supply()
    with supplied(counted):
        module = nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0)))
    own_key, others_key = jax.random.split(key)

    def cut(numbers: Sequence[jax.Array], key: jax.Array) -> list[Any]:
        with supplied(Supply(numbers)):
            return [variable.get_value() for _, variable in _variables(build(rngs=nnx.Rngs(key)))]

    shapes = [jax.ShapeDtypeStruct((size,), jnp.float32) for size in counted.sizes]
    program = jax.make_jaxpr(cut)(shapes, others_key)
    variables = _variables(module)
    wanted = [i for i, (path, _) in enumerate(variables) if only is None or only(path)]
    values = constant_outputs(program)
    missing = [number for number in wanted if number not in values]
    values |= _make(program, missing, counted.sizes, own_key, others_key)
    for number in wanted:
        variables[number][1].set_value(values[number])
    return module


def _variables(module: nnx.Module) -> list[tuple[Any, nnx.Variable[Any]]]:
    return list(nnx.to_flat_state(nnx.state(module)))


def _make(
    program: Any, leaves: Sequence[int], sizes: Sequence[int], key: jax.Array, others_key: jax.Array
) -> dict[int, jax.Array]:
    """Computes results of a program whose arguments are random numbers and a key, by number."""
    if not sizes:
        return _cut(program, _Group(list(leaves), 0, 0), [0], jnp.zeros(0), others_key)
    starts = [0, *itertools.accumulate(sizes)]
    if not draws_by_index(key):  # the numbers of such a key can only be drawn together
        everything = _Group(list(leaves), 0, len(sizes) - 1)
        numbers = _draw_all(key, starts[-1])
        return _cut(program, everything, starts, numbers, others_key)
    traced = isinstance(key, jax.core.Tracer)
    limit = starts[-1] if traced else max(GROUP, starts[-1] // 8)
    groups = _groups(program, leaves, starts, limit)
    count = max((starts[group.last + 1] - starts[group.first] for group in groups), default=0)
    made: dict[int, jax.Array] = {}
    for group in groups:
        start = np.array(divmod(starts[group.first], 2**32), np.uint32)
        made |= _cut(program, group, starts, _draw(key, start, count), others_key)
        if len(groups) > 1:  # or the numbers of all groups would be drawn ahead of their use
            jax.block_until_ready([made[leaf] for leaf in group.leaves])
    return made


def _groups(program: Any, leaves: Sequence[int], starts: Sequence[int], limit: int) -> list[_Group]:
    """Divides results into groups that need at most `limit` numbers, or are a single result."""
    needed = inputs_of_outputs(program)
    key = len(starts) - 1  # the number of the last argument
    ranges = {leaf: sorted(needed[leaf] - {key}) or [0] for leaf in leaves}
    groups: list[_Group] = []
    for leaf in sorted(leaves, key=lambda leaf: ranges[leaf]):
        first, last = ranges[leaf][0], ranges[leaf][-1]
        if groups and starts[max(last, groups[-1].last) + 1] - starts[groups[-1].first] <= limit:
            old = groups.pop()
            groups.append(_Group([*old.leaves, leaf], old.first, max(last, old.last)))
        else:
            groups.append(_Group([leaf], first, last))
    return groups


def _cut(
    program: Any, group: _Group, starts: Sequence[int], numbers: jax.Array, key: jax.Array
) -> dict[int, jax.Array]:
    """Computes the results of a group from its random numbers, in one compiled program."""
    sizes = [stop - start for start, stop in itertools.pairwise(starts)]
    begin = starts[group.first]

    @jax.jit
    def run(numbers: jax.Array, key: jax.Array) -> list[jax.Array]:
        arguments = [
            numbers[start - begin : start - begin + size]
            if group.first <= number <= group.last
            else jnp.zeros(size)
            for number, (start, size) in enumerate(zip(starts, sizes, strict=False))
        ]
        return run_part(program, [*arguments, key], group.leaves)

    return dict(zip(group.leaves, run(numbers, key), strict=True))


@functools.partial(jax.jit, static_argnums=2)
def _draw(key: jax.Array, start: jax.Array, count: int) -> jax.Array:
    return _stored(normal_numbers(key, start, count))


@functools.partial(jax.jit, static_argnums=1)
def _draw_all(key: jax.Array, count: int) -> jax.Array:
    return _stored(jax.random.normal(key, (count,), jnp.float32))


def _stored(numbers: jax.Array) -> jax.Array:
    # Inside of `jax.jit` XLA would give each kernel a generator of its own again, but for these:
    # the first is what a CPU heeds, the second what the others do.
    return compute_once(jax.lax.optimization_barrier(numbers))


class ParameterKeys:
    """Keys for parameters, counted outside of JAX; stands in for `nnx.Rngs` while a network builds.

    `nnx.Rngs` keeps its count in a variable. Inside a trace each count takes time in proportion to
    what was traced before: minutes for a thousand layers.
    """

    def __init__(self, key: jax.Array) -> None:
        """Derives all keys from one."""
        self._key = key
        self._count = 0

    def params(self) -> jax.Array:
        """Returns the next key."""
        self._count += 1
        return jax.random.fold_in(self._key, self._count)
