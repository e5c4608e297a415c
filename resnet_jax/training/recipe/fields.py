"""Every field of a recipe by its dotted name: its type, its default and what it means."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import TypeAdapter

from resnet_jax.errors import nearest
from resnet_jax.training.recipe.config import TrainConfig

# What other training programs call a field.
_OTHER_NAMES = {
    "amp": "model.dtype",
    "arch": "model.name",
    "b": "batch_size",
    "bs": "batch_size",
    "data": "data.name",
    "data_path": "data.name",
    "dataset": "data.name",
    "ema_decay": "ema.decay",
    "img_size": "data.image_size",
    "j": "data.workers",
    "log_every": "log_every_steps",
    "lr": "optimizer.learning_rate",
    "max_epochs": "epochs",
    "max_steps": "steps",
    "model": "model.name",
    "num_epochs": "epochs",
    "num_steps": "steps",
    "num_workers": "data.workers",
    "opt": "optimizer.name",
    "optimizer": "optimizer.name",
    "precision": "model.dtype",
    "pretrained": "finetune.weights",
    "random_seed": "seed",
    "sched": "schedule.name",
    "scheduler": "schedule.name",
    "criterion": "loss.name",
    "smoothing": "loss.label_smoothing",
    "train_batch_size": "batch_size",
    "warmup": "schedule.warmup_epochs",
    "wd": "optimizer.weight_decay",
}


class RecipeField(NamedTuple):
    """A field of a recipe.

    Attributes:
        path: Its dotted name, such as `optimizer.learning_rate`.
        hint: Its type.
        default: Its default, or `dataclasses.MISSING`.
        meaning: What the docstring says about it, in one line.
    """

    path: str
    hint: Any
    default: Any
    meaning: str


@functools.cache
def recipe_fields() -> tuple[RecipeField, ...]:
    """Lists every field that has a value of its own, in the order of the dataclasses."""
    return tuple(_fields_of(TrainConfig, ""))


class RecipeSection(NamedTuple):
    """A dataclass of a recipe.

    Attributes:
        path: Its dotted name, such as `optimizer`; that of the recipe itself is empty.
        kind: The dataclass.
        is_off: Whether a recipe has no such section by default.
    """

    path: str
    kind: type
    is_off: bool


def recipe_sections() -> Iterator[RecipeSection]:
    """Yields the dataclasses of a recipe."""
    yield RecipeSection("", TrainConfig, is_off=False)
    yield from _sections_of(TrainConfig, "")


def values_by_field(config: Any, prefix: str = "") -> dict[str, Any]:
    """Returns the values of a configuration by dotted names; None for a section that is off.

    Dataclasses in a tuple become dictionaries.
    """
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        path, value = f"{prefix}{field.name}", getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found |= values_by_field(value, f"{path}.")
        elif isinstance(value, tuple):
            found[path] = tuple(map(_plain, value))
        else:
            found[path] = value
    return found


def section_kind(hint: Any) -> type | None:
    """Returns the dataclass that a field of this type holds; None for a plain value."""
    return next((kind for kind in choices(hint) if dataclasses.is_dataclass(kind)), None)  # type: ignore[return-value]


def choices(hint: Any) -> tuple[Any, ...]:
    """Returns the members of a union, or just the type."""
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def hints_of(kind: type) -> dict[str, Any]:
    """Returns the types of a dataclass's fields by their names."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def resembling(name: str, *, exactly: bool = False) -> list[str]:
    """Finds the fields that a name probably means, by their dotted names.

    Args:
        name: What the user wrote, such as `lr`, `batch-size` or `optimizer.lr`.
        exactly: Only fields that someone calls so, here or in other programs, and no typos.
    """
    name = name.replace("-", "_").lower()
    section, _, last = name.rpartition(".")
    paths = [field.path for field in recipe_fields()]
    exact = [path for path in paths if name == path or last == path.rpartition(".")[2]]
    other = [_OTHER_NAMES[word] for word in (name, last) if word in _OTHER_NAMES][:1]
    found = [name] if name in paths else [*other, *exact]
    if not found and not exactly:
        near = difflib.get_close_matches(last, {path.rpartition(".")[2] for path in paths})
        found = [path for path in paths if path.rpartition(".")[2] in near[:1]]
    inside = [path for path in found if section and path.startswith(f"{section}.")]
    return inside or list(dict.fromkeys(found))


def unknown_field(path: Iterable[str], known: Iterable[str]) -> str:
    """Writes the message about a field that does not exist.

    Args:
        path: The parts of its dotted name.
        known: The fields that exist in its place.
    """
    *parents, name = path
    section, fields = ".".join(parents), sorted(known)
    found = resembling(".".join((*parents, name)))
    local = [one.removeprefix(f"{section}.") for one in found if one.startswith(f"{section}.")]
    hint = _did_you_mean(local) or nearest(name, fields) or _did_you_mean(found)
    hint = hint or f" Its fields: {', '.join(fields)}."
    return f"{'.'.join((*parents, name))}: {section or 'config'} has no field {name!r}.{hint}"


def meanings(kind: type) -> Mapping[str, str]:
    """Reads what the section "Attributes" of a class's docstring says about each of them."""
    _, _, text = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", text, re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in entries}


def type_in_words(hint: Any) -> str:
    """Describes the type of a field for people, such as `integer above 0, or none`."""
    return _in_words(TypeAdapter(hint).json_schema())


def _plain(item: Any) -> Any:
    is_section = dataclasses.is_dataclass(item) and not isinstance(item, type)
    return dataclasses.asdict(item) if is_section else item


def _did_you_mean(names: Iterable[str]) -> str:
    words = " or ".join(repr(name) for name in names)
    return f" Did you mean {words}?" if words else ""


def _fields_of(kind: type, prefix: str) -> Iterator[RecipeField]:
    hints, said = hints_of(kind), meanings(kind)
    for field in dataclasses.fields(kind):
        path, inner = f"{prefix}{field.name}", section_kind(hints[field.name])
        if inner is not None:
            yield from _fields_of(inner, f"{path}.")
        else:
            yield RecipeField(path, hints[field.name], field.default, said.get(field.name, ""))


def _sections_of(kind: type, prefix: str) -> Iterator[RecipeSection]:
    for name, hint in hints_of(kind).items():
        inner = section_kind(hint)
        if inner is not None:
            yield RecipeSection(f"{prefix}{name}", inner, is_off=type(None) in choices(hint))
            yield from _sections_of(inner, f"{prefix}{name}.")


def _in_words(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return ", or ".join(_in_words(option) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        options = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{option}`" for option in options)
    if schema.get("type") == "array":
        items = schema.get("prefixItems")
        if items:
            return f"{len(items)} values, each {_in_words(items[0])}"
        return f"any number of values, each {_in_words(schema['items'])}"
    if schema.get("type") == "object":
        return f"names, each with {_in_words(schema['additionalProperties'])}"
    if "$ref" in schema:
        return "an object"
    words = {"integer": "integer", "number": "number", "string": "text", "null": "none"}
    text = words.get(schema.get("type", ""), "true or false")
    bounds = {
        "exclusiveMinimum": "above",
        "minimum": "from",
        "exclusiveMaximum": "below",
        "maximum": "up to",
    }
    return " ".join(
        [text, *(f"{word} {schema[key]:g}" for key, word in bounds.items() if key in schema)]
    )
