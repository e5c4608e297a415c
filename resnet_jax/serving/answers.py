"""Error responses as JSON with a reason, and the counters of all responses."""

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

_SHOWN = 40  # characters of a wrong value that a message repeats


def add_reasons(app: FastAPI) -> None:
    """Turns every error response into JSON with one field, `error`."""
    app.add_exception_handler(RequestError, _on_refused)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_fault)


def refusal(error: RequestError) -> Response:
    """Makes the response to a request that is refused."""
    # The rest of the body may be unread, so the connection cannot carry another request.
    headers = {"connection": "close"}
    if error.status in (429, 503):
        headers["retry-after"] = "1"
    return _reason(error.status, error.reason, headers)


def _reason(status: int, reason: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": reason}, status_code=status, headers=headers)


async def _on_refused(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestError)
    return refusal(error)


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
    return _reason(500, "internal error of the service; see its log")


class Counted:
    """Counts responses and measures how long they took.

    Args:
        app: The application that responds.
        metrics: The counters.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request to the application, and counts the response."""
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
            # Without a response it is an error, which an outer middleware answers with 500.
            status = statuses[0] if statuses else 500
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - begun)
