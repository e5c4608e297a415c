"""Reads the bodies of requests: not too many, not too large, not too slow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import Request

from resnet_jax.serving.limits import Limits, RequestError
from resnet_jax.serving.metrics import Metrics

_DISCARD_SECONDS = 5.0
_DISCARD_BODIES = 4


class Door:
    """Admits a limited number of requests at a time.

    Args:
        limits: How many requests, and how large.
        metrics: Counts the requests in progress.

    Attributes:
        is_open: Whether requests are admitted; False while the service stops.
        inside: How many requests are in progress.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self.inside = 0
        self.is_open = True

    @contextlib.asynccontextmanager
    async def admit(self, request: Request) -> AsyncIterator[bytes]:
        """Reads the body of a request, which counts as admitted until the `with` block ends.

        Raises:
            RequestError: There are too many requests (429); the body is too large (413), too slow
                (408) or empty (400); or the service is stopping (503).
        """
        refusal = self._refusal()
        if refusal is not None:
            await _discard(request, self._limits)
            raise refusal
        self.inside += 1
        self._metrics.in_flight.set(self.inside)
        try:
            yield await _read(request, self._limits)
        finally:
            self.inside -= 1
            self._metrics.in_flight.set(self.inside)

    def _refusal(self) -> RequestError | None:
        if not self.is_open:
            return RequestError(503, "the service is stopping")
        if self.inside >= self._limits.queue:
            return RequestError(429, f"{self.inside} requests are already waiting; try again")
        return None


async def _read(request: Request, limits: Limits) -> bytes:
    body, is_more = bytearray(), True
    try:
        async with asyncio.timeout(limits.request_seconds):
            while is_more and len(body) <= limits.body_bytes:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise RequestError(400, "the client disconnected before the body was complete")
                body += message.get("body", b"")
                is_more = message.get("more_body", False)
    except TimeoutError:
        raise RequestError(408, "the body did not arrive in time") from None
    if len(body) > limits.body_bytes:
        del body
        if is_more:
            await _discard(request, limits)
        raise RequestError(413, f"the body has more than {limits.body_bytes} bytes, the limit")
    if not body:
        raise RequestError(400, "the body is empty: send the bytes of an image")
    return bytes(body)


async def _discard(request: Request, limits: Limits) -> None:
    """Reads the rest of a body, up to a limit: many clients send it all before they read."""
    left = _DISCARD_BODIES * limits.body_bytes
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            while left > 0:
                message = await request.receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
