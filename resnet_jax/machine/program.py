"""How a person calls the command line of this package in the environment that runs it."""

from __future__ import annotations

import importlib.machinery
import os
import pathlib
import shlex
import shutil
import sys

_PACKAGE = "resnet_jax"
_COMMAND = "resnet-jax"


def command_line(*words: str) -> str:
    """Writes a command that works when it is copied into a shell in the working directory.

    That is `resnet-jax ...` if the search path leads to this environment's, and otherwise this
    interpreter with `-m resnet_jax`.

    Args:
        *words: What follows the name of the program.
    """
    found = shutil.which(_COMMAND)
    ours = pathlib.Path(sys.executable).with_name(_COMMAND)
    if found is not None and ours.is_file() and pathlib.Path(found).samefile(ours):
        return shlex.join([_COMMAND, *words])
    call = shlex.join([_interpreter(), "-m", _PACKAGE, *words])
    root = pathlib.Path(__file__).resolve().parents[2]
    # Where a new interpreter looks: not in the folder of the script that runs now.
    places = [os.getcwd(), *sys.path[1:]]  # noqa: PTH109  (these are strings)
    if importlib.machinery.PathFinder.find_spec(_PACKAGE, places) is not None:
        return call
    return f"PYTHONPATH={shlex.quote(str(root))} {call}"


def _interpreter() -> str:
    """Returns the interpreter's name if the search path leads to it, and its path otherwise."""
    path = pathlib.Path(sys.executable)
    found = shutil.which(path.name)
    return path.name if found is not None and pathlib.Path(found).absolute() == path else str(path)
