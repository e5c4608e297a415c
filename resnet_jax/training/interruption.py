"""A polite end: the first signal is noted, the second leaves at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, Self

import jax
from jax.experimental import multihost_utils

RESUME_STATUS = 75
"""Exit status of a run that was interrupted and saved (EX_TEMPFAIL): start it again to resume."""


class Interruption:
    """Notes SIGTERM and SIGINT while it is open, so that a step can be finished and saved.

    Where several processes train together they agree on the step: JAX takes note of SIGTERM, and of
    a TPU's maintenance, in any of them, and names a step that none has passed yet. An interrupt
    from the keyboard is handed to it as a SIGTERM.

    Outside of the main thread, where Python allows no handlers, it notes nothing.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._old: dict[signal.Signals, Any] = {}
        self._together = jax.process_count() > 1

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            numbers = (signal.SIGINT,) if self._together else (signal.SIGTERM, signal.SIGINT)
            for number in numbers:
                self._old[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    @property
    def requested(self) -> bool:
        """Whether a signal came to this process."""
        return self.signal is not None

    def is_due(self, step: int) -> bool:
        """Whether the run shall stop after this step; all processes ask after every step alike."""
        if self._together:
            return bool(multihost_utils.reached_preemption_sync_point(step))
        return self.requested

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.signal is not None and number == signal.SIGINT:
            # A save in the background would hold an orderly exit back; half of one is never read.
            os._exit(128 + number)
        self.signal = signal.Signals(number)
        if self._together:
            signal.raise_signal(signal.SIGTERM)
