"""Answers that are no results: reasons as JSON; and what is counted about all of them."""

from __future__ import annotations

import time

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resnet_jax.serving.limits import RequestError
from resnet_jax.serving.metrics import Metrics

_SHOWN = 40  # characters of a wrong value that are repeated


def add_reasons(app: FastAPI) -> None:
    """Makes every answer that is no success JSON with the one field `error`."""
    app.add_exception_handler(RequestError, _on_refused)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_fault)


def _reason(status: int, reason: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": reason}, status_code=status, headers=headers)


async def _on_refused(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestError)
    # The body may not have been read to its end: what follows would not be a request.
    headers = {"connection": "close"}
    if error.status in (429, 503):
        headers["retry-after"] = "1"
    return _reason(error.status, error.reason, headers)


async def _on_invalid(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    value = str(first.get("input"))[:_SHOWN]
    reason = f"{first['loc'][-1]}={value!r}: {first['msg']}"
    return _reason(422, reason, {"connection": "close"})


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _reason(error.status_code, f"{request.method} {request.url.path}: {error.detail}")


async def _on_fault(request: Request, error: Exception) -> Response:
    del request, error
    return _reason(500, "a fault inside the service; its log has more")


class Counted:
    """Counts answers and their time.

    Args:
        app: The application inside.
        metrics: Where they are counted.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request with the application inside, and counts it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        statuses: list[int] = []

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            # Without an answer it is a fault, to which one is given further outside.
            status = statuses[0] if statuses else 500
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - begun)
