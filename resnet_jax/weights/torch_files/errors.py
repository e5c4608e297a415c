"""Why a file of `torch.save` is not read."""


class UnsafeGlobalError(Exception):
    """The file asks for something that may run code."""


class DamagedError(Exception):
    """The file is truncated, damaged or of another format."""


class UnsupportedError(Exception):
    """The file says something that PyTorch does not write; the message says what."""
