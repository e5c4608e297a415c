"""Reads the files of `torch.save` without PyTorch.

`torch.load(weights_only=True)` does the same, but users of a JAX library rarely have PyTorch. It is
larger than all other dependencies of this library together, while the format of a state dict is
small and has been stable since 2017. PyTorch is not used even if it is installed, so that a file
reads the same everywhere.

A pickle is a program. It may name only what is in the table of `vocabulary`, and the reader refuses
any other name before looking it up. Each name stands for a function or text of this package, never
for the object of that name, and no instruction sets an attribute. So a file runs no code and
changes nothing in the process. Arrays are made only after the pickle has ended, and are checked
against the data.
"""

from resnet_jax.weights.torch_files.archive import PICKLE_MAGIC, ZIP_MAGIC, read
from resnet_jax.weights.torch_files.errors import (
    DamagedError,
    UnsafeGlobalError,
    UnsupportedError,
)

__all__ = [
    "PICKLE_MAGIC",
    "ZIP_MAGIC",
    "DamagedError",
    "UnsafeGlobalError",
    "UnsupportedError",
    "read",
]
