"""Traces of steps, and the search for NaNs."""

from __future__ import annotations

import pathlib
from typing import Self

import jax


def search_for_nans() -> None:
    """Makes JAX stop at the first NaN and name its operation; steps become slower.

    Call it before the steps are built: they then neither donate the state nor skip updates.
    """
    jax.config.update("jax_debug_nans", True)


def searches_for_nans() -> bool:
    """Whether `search_for_nans` was called."""
    return bool(jax.config.jax_debug_nans)  # type: ignore[attr-defined]


class StepTrace:
    """Writes a trace of a few steps for TensorBoard and Perfetto; use it in a `with` statement.

    Args:
        folder: The folder of the trace; None traces nothing.
        first: The first step of the trace; by then everything should be compiled.
        steps: How many steps.
    """

    def __init__(self, folder: pathlib.Path | None, *, first: int, steps: int = 5) -> None:
        self._folder = folder
        self._first = first
        self._last = first + steps
        self._running = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running = False

    def before(self, step: int) -> None:
        """Starts the trace at its first step, and ends it at the first step after it."""
        if self._folder is None:
            return
        if not self._running and self._first <= step < self._last:
            jax.profiler.start_trace(self._folder)
            self._running = True
        elif self._running and step >= self._last:
            jax.profiler.stop_trace()
            self._running, self._folder = False, None
