"""A log that does not repeat itself."""

from __future__ import annotations

import logging
import time

_SECONDS = 60.0
_NAMES = ("uvicorn.error", "asyncio")


class Sparing(logging.Filter):
    """Lets one message of a kind pass in a minute, and says then how many were left out.

    The kind is the first line of the message before its arguments are filled in, and where an
    exception was raised; so a client that causes one message a request does not fill a disk.

    Args:
        seconds: How long further messages of a kind are left out.
    """

    def __init__(self, seconds: float = _SECONDS) -> None:
        super().__init__()
        self._seconds = seconds
        self._last: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Says whether a message passes."""
        kind, now = _kind(record), time.monotonic()
        last, left_out = self._last.get(kind, (-self._seconds, 0))
        if now - last < self._seconds:
            self._last[kind] = (last, left_out + 1)
            return False
        self._last[kind] = (now, 0)
        if left_out:
            record.msg = f"{record.getMessage().rstrip()} ({left_out} more like it were left out)"
            record.args = None
        return True


def log_sparingly() -> None:
    """Makes the logs of the server sparing."""
    sparing = Sparing()
    for name in _NAMES:
        logging.getLogger(name).addFilter(sparing)


def _kind(record: logging.LogRecord) -> tuple[object, ...]:
    first_line = str(record.msg).partition("\n")[0]
    place: tuple[object, ...] = ()
    if record.exc_info and record.exc_info[0] is not None:
        trace = record.exc_info[2]
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        line = (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace is not None else ()
        place = (record.exc_info[0], *line)
    return (record.name, first_line, *place)
