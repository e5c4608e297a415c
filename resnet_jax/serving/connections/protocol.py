"""uvicorn's HTTP protocol, with limits on connections and on the time that a head may take."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from resnet_jax.serving.connections.registry import ConnectionRegistry

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
    b'connection: close\r\ncontent-length: 43\r\n\r\n{"error":"too many connections; try again"}'
)


class LimitedProtocol(H11Protocol):
    """One connection, known to a registry.

    Args:
        registry: The connections.
        options: What uvicorn passes to a protocol.

    Attributes:
        address: Of the client, without its port.
        waiting_since: As `Connection` says, like the following ones.
        stuck_since: Since when the client has not taken what was written.
        has_asked: Whether it has brought a whole head.
    """

    def __init__(self, *, registry: ConnectionRegistry, **options: Any) -> None:
        super().__init__(**options)
        self._registry = registry
        self.address = ""
        self.waiting_since: float | None = None
        self.stuck_since: float | None = None
        self.has_asked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes a connection, or turns it away."""
        super().connection_made(cast("asyncio.Transport", transport))
        self.address = self.client[0] if self.client else ""
        self.waiting_since = time.monotonic()
        if not self._registry.admit(self):
            self.transport.write(_FULL)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self._registry.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Passes data on, unless the connection is about to end."""
        if not self.transport.is_closing():
            super().data_received(data)

    def handle_events(self) -> None:
        """Notes whether a request has come."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self.has_asked, self.waiting_since = True, None

    def on_response_complete(self) -> None:
        """Waits for the next head, and for the client to take the response."""
        self.waiting_since = time.monotonic()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Notes that the client does not read."""
        self.stuck_since = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Notes that the client reads."""
        self.stuck_since = None
        super().resume_writing()

    def end(self) -> None:
        """Closes the connection at once, whatever is still to be written."""
        self.transport.abort()
