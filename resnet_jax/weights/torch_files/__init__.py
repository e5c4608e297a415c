"""Reads the files of `torch.save` without PyTorch.

`torch.load(weights_only=True)` does the same, but users of a JAX library rarely have PyTorch. It is
larger than all other dependencies of this library together, while the format of a state dict is
small and has been stable since 2017. PyTorch is not used even if it is installed, so that a file
reads the same everywhere.

A pickle is a program. `unpickle` runs the instructions that tensors and containers need, and
refuses every other one. A name must be in the table of `vocabulary`, and stands for a function or
text of this package, never for the object of that name; no instruction sets an attribute. So a file
runs no code and changes nothing in the process.

A file takes no more time and memory than its size allows. Instructions, bytes and depth are
bounded, what a pickle shares is shared, a tensor has each number of its storage once, and the sizes
in an archive's index are compared with those of the tensors before anything is read.
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
