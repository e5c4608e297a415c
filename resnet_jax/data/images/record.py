"""One example as it is stored, and what makes pixels of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Record(NamedTuple):
    """One example as it is stored.

    Attributes:
        image: The content of an image file, or pixels, uint8 [height, width, channels].
        label: The class, from 0.
    """

    image: bytes | NDArray[np.uint8]
    label: int


Transform = Callable[[Record, np.random.Generator], NDArray[np.uint8]]
"""Turns a stored example into pixels of one shape, with the random numbers that it is given."""
