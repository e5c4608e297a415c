"""Which connections there are, which of them wait, and which has to go."""

from __future__ import annotations

import asyncio
import collections
import resource
import time
from typing import Protocol

from resnet_jax.errors import ConfigError
from resnet_jax.serving.limits import Limits

_SWEEP_SECONDS = 1.0
_LAST_SECONDS = 5.0
_OTHER_FILES = 128  # what the process opens besides connections


class Connection(Protocol):
    """A connection, as the registry sees it.

    Attributes:
        address: Of the client.
        waiting_since: Since when the head of a request has been awaited; None while a request is
            answered.
        stuck_since: Since when the client has not taken what was written; None if it does.
        has_asked: Whether it has brought a whole head.
    """

    address: str
    waiting_since: float | None
    stuck_since: float | None
    has_asked: bool

    def end(self) -> None:
        """Closes the connection at once, whatever is still to be written."""
        ...


class ConnectionRegistry:
    """All open connections, within the limits.

    Where one too many comes, one that waits for the head of a request has to go: first those that
    have never brought one, the oldest first. So whoever holds connections open without using them
    takes the place of nobody but themselves. Only if none waits the new one is turned away.

    Args:
        limits: How many connections in all and from one address, and how long they may wait.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: dict[Connection, None] = {}
        self._per_address: collections.Counter[str] = collections.Counter()
        self._sweeper: asyncio.TimerHandle | None = None
        self._head_seconds = limits.head_seconds
        self._read_seconds = limits.request_seconds

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Connection) -> bool:
        """Adds a connection, or says that there is no room for it."""
        limits, address = self._limits, connection.address
        if self._per_address[address] >= limits.connections_per_address:
            room = self._end_one(address)
        else:
            room = len(self._open) < limits.connections or self._end_one(None)
        if not room:
            return False
        self._open[connection] = None
        self._per_address[address] += 1
        return True

    def remove(self, connection: Connection) -> None:
        """Forgets a connection; one that is not known does no harm."""
        if connection in self._open:
            del self._open[connection]
            self._per_address[connection.address] -= 1
            if not self._per_address[connection.address]:
                del self._per_address[connection.address]

    def watch(self) -> None:
        """Ends, from now on and once a second, the connections that wait for too long."""
        self._sweep(time.monotonic())
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self.watch)

    def hurry(self) -> None:
        """Gives clients a few seconds only, from now on, since the service stops."""
        self._head_seconds = min(self._head_seconds, _LAST_SECONDS)
        self._read_seconds = min(self._read_seconds, _LAST_SECONDS)

    def stop_watching(self) -> None:
        """Ends the watch."""
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _sweep(self, now: float) -> None:
        for connection in list(self._open):
            waiting, stuck = connection.waiting_since, connection.stuck_since
            if (waiting is not None and now - waiting > self._head_seconds) or (
                stuck is not None and now - stuck > self._read_seconds
            ):
                self._end(connection)

    def _end_one(self, address: str | None) -> bool:
        idle = None
        for connection in self._open:  # in the order in which they came
            if connection.waiting_since is None or address not in (None, connection.address):
                continue
            if not connection.has_asked:
                self._end(connection)
                return True
            idle = idle or connection
        if idle is not None:
            self._end(idle)
        return idle is not None

    def _end(self, connection: Connection) -> None:
        self.remove(connection)
        connection.end()


def check_open_files(limits: Limits) -> None:
    """Checks that the process may open as many files as there may be connections.

    The limit is raised if the system allows it.

    Raises:
        ConfigError: It does not.
    """
    needed = limits.connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard == resource.RLIM_INFINITY or hard >= needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        return
    remedy = f"give --connections={hard - _OTHER_FILES}, or raise the limit"
    if hard <= _OTHER_FILES:
        remedy = "raise the limit"
    raise ConfigError(
        f"connections={limits.connections}: that takes {needed} open files, and this process may "
        f"open {hard} (ulimit -n): {remedy}"
    )
