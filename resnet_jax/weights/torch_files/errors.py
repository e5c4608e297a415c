"""Why a file of `torch.save` is not read."""

_AGAIN = "it is damaged, or PyTorch did not write it: save it again with torch.save"


class UnsafeGlobalError(Exception):
    """The file asks for something that may run code."""


class DamagedError(Exception):
    """The file is truncated, damaged or of another format."""


class UnsupportedError(Exception):
    """The file says something that is not read; the message says what, and what to do."""

    def __init__(self, fault: str, remedy: str = _AGAIN) -> None:
        super().__init__(f"{fault}; {remedy}")
