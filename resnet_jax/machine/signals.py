"""Interruption of a run: the first signal saves and stops, the second stops at once."""

from __future__ import annotations

import os
import signal
import socket
import threading
from types import FrameType
from typing import Any, Self

import jax
from jax.experimental import multihost_utils

RESUME_STATUS = 75
"""Exit status of a run that saved and stopped at a signal (EX_TEMPFAIL); run it again to resume."""

_STDERR = 2


class Interruption:
    """Notes SIGTERM and SIGINT while it is open, so that a step can be finished and saved.

    If several processes train together, they agree on the step: JAX notices a SIGTERM, or a TPU's
    maintenance event, in any of them, and chooses a step that none has passed yet. A SIGINT is
    passed to JAX as a SIGTERM.

    A SIGINT after a first signal ends the process, even during compilation: Python handles signals
    only after that, so a thread listens for them as well. It also says at once, on standard error,
    that a first signal has arrived.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._old: dict[signal.Signals, Any] = {}
        self._together = jax.process_count() > 1
        self._caller: socket.socket | None = None
        self._old_caller = -1

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            numbers = (signal.SIGINT,) if self._together else (signal.SIGTERM, signal.SIGINT)
            for number in numbers:
                self._old[number] = signal.signal(number, self._note)
            self._listen()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        if self._caller is not None:
            signal.set_wakeup_fd(self._old_caller)
            self._caller.close()

    @property
    def requested(self) -> bool:
        """Whether this process received a signal."""
        return self.signal is not None

    @property
    def can_stop_now(self) -> bool:
        """Whether to stop within a step's measurements; several processes cannot agree on that."""
        return self.requested and not self._together

    def is_due(self, step: int) -> bool:
        """Whether the run must stop after this step; call it after every step in every process."""
        if self._together:
            return bool(multihost_utils.reached_preemption_sync_point(step))
        return self.requested

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.signal = signal.Signals(number)
        if self._together:
            signal.raise_signal(signal.SIGTERM)

    def _listen(self) -> None:
        self._caller, listener = socket.socketpair()
        self._caller.setblocking(False)
        self._old_caller = signal.set_wakeup_fd(self._caller.fileno())
        threading.Thread(target=_exit_at_second_signal, args=(listener,), daemon=True).start()


def _exit_at_second_signal(listener: socket.socket) -> None:
    """Reads the numbers of signals until the socket is closed, and answers the first of them."""
    seen = 0
    with listener:
        while numbers := listener.recv(1):
            seen += 1
            if seen == 1:
                # Not through `sys.stderr`, which the main thread may hold.
                again = "press again" if numbers[0] == signal.SIGINT else "press Ctrl-C"
                os.write(_STDERR, f"\nfinishing this step; {again} to leave now\n".encode())
            if seen > 1 and numbers[0] == signal.SIGINT:
                # A normal exit would wait for a save in the background; an unfinished save is
                # never read.
                os._exit(128 + signal.SIGINT)
