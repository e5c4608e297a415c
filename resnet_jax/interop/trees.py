"""A module's variables as nested dicts whose keys are strings.

NNX numbers the modules of a list, and files keep numbers as strings: `stages`, `0`, `conv1`. As
strings they sort as 0, 1, 10, 2, so a tree that was matched by position would be matched wrongly.
Here every leaf is matched by its name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx

Tree = dict[str, Any]
_Path = tuple[Any, ...]
_SHOWN = 4


@dataclasses.dataclass(frozen=True)
class _Leaf:
    """A variable of a module.

    Attributes:
        path: Its place in the module, where the elements of lists have numbers.
        shape: Of its array.
    """

    path: _Path
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class TreeLayout:
    """The names and shapes of a module's variables of one type.

    Attributes:
        kind: What the tree is called in messages, such as `params`.
        leaves: The variables by their names, such as `stages/0/1/conv1/kernel`.
    """

    kind: str
    leaves: Mapping[str, _Leaf]

    @classmethod
    def of(cls, kind: str, state: nnx.State[Any, Any]) -> TreeLayout:
        """Takes them from the state of a module, which may be abstract."""
        return cls(
            kind,
            {
                _name(path): _Leaf(path, tuple(variable.shape))
                for path, variable in nnx.to_flat_state(state)
            },
        )

    def to_names(self, state: nnx.State[Any, Any]) -> Tree:
        """Gives the arrays of a state as nested dicts with string keys."""
        return _nested(
            (tuple(map(str, path)), leaf[...]) for path, leaf in nnx.to_flat_state(state)
        )

    def from_names(self, tree: Mapping[Any, Any]) -> dict[Any, Any]:
        """Gives the arrays of a tree as nested dicts with the keys of the module.

        Args:
            tree: Nested mappings or lists. The keys may be strings or numbers, in any order.

        Raises:
            ValueError: Names are missing, unexpected or there twice, or shapes differ. The message
                has all of these.
        """
        given: dict[str, Any] = {}
        twice = []
        for name, value in _named(tree):
            if name in given:
                twice.append(name)
            given[name] = value
        missing = [name for name in self.leaves if name not in given]
        unexpected = [name for name in given if name not in self.leaves]
        shapes = [
            f"{name} {list(jnp.shape(value))} instead of {list(self.leaves[name].shape)}"
            for name, value in given.items()
            if name in self.leaves and jnp.shape(value) != self.leaves[name].shape
        ]
        if missing or unexpected or shapes or twice:
            faults = {
                "missing": missing,
                "unexpected": unexpected,
                "of another shape": shapes,
                "there twice": twice,
            }
            listed = [f"{len(of)} {fault}: {_some(of)}" for fault, of in faults.items() if of]
            raise ValueError(f"{self.kind} do not fit the module; {'; '.join(listed)}")
        return _nested((self.leaves[name].path, value) for name, value in given.items())


def with_keys_of(given: Mapping[Any, Any], tree: Mapping[str, Any]) -> dict[Any, Any]:
    """Gives a tree with string keys the keys of another one with the same names."""
    return {
        key: with_keys_of(value, tree[str(key)]) if isinstance(value, Mapping) else tree[str(key)]
        for key, value in given.items()
        if str(key) in tree
    }


def _name(path: _Path) -> str:
    return "/".join(map(str, path))


def _named(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yields the leaves of a tree with their names; an empty branch has none."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _named(value, (*path, str(key)))
    elif isinstance(tree, Sequence):
        for number, value in enumerate(tree):
            yield from _named(value, (*path, str(number)))
    else:
        yield _name(path), tree


def _nested(leaves: Any) -> dict[Any, Any]:
    tree: dict[Any, Any] = {}
    for path, value in leaves:
        branch = tree
        for key in path[:-1]:
            branch = branch.setdefault(key, {})
        branch[path[-1]] = value
    return tree


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
