"""Steps that were skipped in a row: when a run has to be given up."""

from __future__ import annotations

import jax
import numpy as np

# Dispatches that may wait on the device before their counters are read.
_MAX_AHEAD = 16


class DivergedError(ValueError):
    """Too many steps in a row had a loss or a gradient that is not finite."""


class SkipWatch:
    """Reads the counter of skipped steps after every step, some steps late.

    Args:
        most: Steps in a row that may be skipped.
        learning_rate: What to lower, for the message.
    """

    def __init__(self, *, most: int, learning_rate: float) -> None:
        self._most = most
        self._learning_rate = learning_rate
        self._pending: list[tuple[int, jax.Array, int]] = []

    def add(self, step: int, in_row: jax.Array, steps: int) -> None:
        """Takes the counter after a dispatch; it is read once the device is further on.

        Args:
            step: The last step of the dispatch, from 1.
            in_row: The counter after its steps: a scalar, or an array of which `steps` count.
            steps: How many steps it had.

        Raises:
            DivergedError: Too many steps in a row were skipped.
        """
        self._pending.append((step, in_row, steps))
        if len(self._pending) > 2 * _MAX_AHEAD:
            self._read(self._pending[:-_MAX_AHEAD])
            self._pending = self._pending[-_MAX_AHEAD:]

    def check(self) -> None:
        """Reads every counter that is left.

        Raises:
            DivergedError: Too many steps in a row were skipped.
        """
        self._read(self._pending)
        self._pending = []

    def _read(self, entries: list[tuple[int, jax.Array, int]]) -> None:
        counters = jax.device_get([in_row for _, in_row, _ in entries])
        for (last, _, steps), values in zip(entries, counters, strict=True):
            for offset, in_row in enumerate(np.atleast_1d(values)[:steps].tolist()):
                if in_row > self._most:
                    first = last - steps + 1 + offset - in_row + 1
                    raise DivergedError(
                        f"no finite loss or gradient since step {first}, {in_row} steps in a row; "
                        f"lower optimizer.learning_rate={self._learning_rate}"
                    )
