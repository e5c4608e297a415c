"""What is decided from the head of a request: its method, its host and where its page came from."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resnet_jax.serving.answers import refusal
from resnet_jax.serving.limits import RequestError

_ANY = "*"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_PORTS = {"http": ":80", "https": ":443"}


class Front:
    """Answers HEAD as GET, and says on the last response of a connection that it closes.

    Args:
        app: The application.
        is_stopping: Whether the service stops.
    """

    def __init__(self, app: ASGIApp, *, is_stopping: Callable[[], bool]) -> None:
        self._app = app
        self._is_stopping = is_stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def passed_on(message: Message) -> None:
            if message["type"] == "http.response.start" and self._is_stopping():
                headers = [pair for pair in message["headers"] if pair[0].lower() != b"connection"]
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
            await send(message)

        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # the server leaves the body of the response out
        await self._app(scope, receive, passed_on)


class Guard:
    """Refuses requests for other hosts, and those that pages of other sites make browsers send.

    A page can give its own domain the address of this machine (DNS rebinding): then the browser
    takes the service for a part of that site, but names the domain in `Host`.

    Args:
        app: The application.
        hosts: Names that the service answers to besides those of the loopback interface and the
            address that a connection came to; `*` stands for all.
        origins: Origins, such as `https://example.com`, whose pages may send images; `*` stands for
            all.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str], origins: Collection[str]) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}
        self._origins = set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it (421 or 403)."""
        app = self._app
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            try:
                self._check_host(headers.get("host"), scope.get("server"))
                if scope["method"] not in _SAFE_METHODS:
                    self._check_origin(headers)
            except RequestError as error:
                app = refusal(error)
        await app(scope, receive, send)

    def _check_host(self, host: str | None, server: tuple[str, int | None] | None) -> None:
        if host is None or _ANY in self._hosts:  # every browser names one
            return
        name = _name(host)
        if name in self._hosts or _is_loopback(name) or (server and name == server[0].lower()):
            return
        raise RequestError(
            421,
            f"the service does not answer to the host {name[:100]!r}: ask for localhost, or start "
            "it with --allowed-host=NAME",
        )

    def _check_origin(self, headers: Headers) -> None:
        origin = headers.get("origin", "").lower()
        if not origin or _ANY in self._origins or origin in self._origins:
            return
        scheme, _, host = origin.partition("://")
        port = _PORTS.get(scheme, "")
        if host.removesuffix(port) == headers.get("host", "").lower().removesuffix(port):
            return
        raise RequestError(
            403,
            f"pages of {origin[:100]!r} may not send images here: start the service with "
            "--allowed-origin=ORIGIN",
        )


def _name(host: str) -> str:
    """The name in a `Host` header, without port and brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
