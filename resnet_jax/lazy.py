"""Packages that import what is asked for and nothing else (PEP 562)."""

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping


def lazy_names(
    package: str, homes: Mapping[str, Iterable[str]], submodules: Iterable[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Returns the functions `__getattr__` and `__dir__` of a package.

    Args:
        package: Its `__name__`.
        homes: Modules, and which of their names the package offers as its own.
        submodules: Modules that are attributes of the package without an import of their own.
    """
    module_of = {name: module for module, names in homes.items() for name in names}
    submodules = tuple(submodules)

    def get(name: str) -> object:
        """Imports what is asked for."""
        if name in module_of:
            value: object = getattr(importlib.import_module(module_of[name]), name)
        elif name in submodules:
            value = importlib.import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        """Lists what can be asked for."""
        return sorted({*vars(sys.modules[package]), *module_of, *submodules})

    return get, names
