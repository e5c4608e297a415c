"""Runs the service until a signal ends it."""

from __future__ import annotations

import functools
import math
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

import uvicorn

from resnet_jax.errors import ConfigError
from resnet_jax.inference.trained import Trained
from resnet_jax.serving.app import create_app
from resnet_jax.serving.connections.logs import log_sparingly
from resnet_jax.serving.connections.protocol import LimitedProtocol
from resnet_jax.serving.connections.registry import ConnectionRegistry, check_open_files
from resnet_jax.serving.engine import Engine
from resnet_jax.serving.limits import Limits

_MAX_PORT = 65_535
_STOP_SECONDS = 20  # orchestrators kill after 30, and the processes have to end too


def serve(
    load: Callable[[], Trained],
    *,
    host: str,
    port: int,
    limits: Limits,
    tell: Callable[[str], None],
) -> None:
    """Serves a network until SIGINT or SIGTERM; accepted requests are answered first.

    Args:
        load: Opens the network; called after the address is bound.
        host: The address to listen on; `127.0.0.1` accepts requests only from this machine.
        port: The port; 0 takes a free one.
        limits: Bounds on requests and batches.
        tell: Receives one line to show when the service is ready.

    Raises:
        ConfigError: The network cannot be served.
        OSError: The service cannot listen on the address.
    """
    with _listen(host, port) as listener:
        check_open_files(limits)
        engine = Engine(load(), batch_size=limits.batch_size)
        engine.warm_up()
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}"
        app, registry = create_app(engine, limits), ConnectionRegistry(limits)
        config = uvicorn.Config(
            app,
            access_log=False,
            http=cast("Any", functools.partial(LimitedProtocol, registry=registry)),
            log_level="warning",
            loop="asyncio",
            server_header=False,
            timeout_graceful_shutdown=min(math.ceil(limits.request_seconds), _STOP_SECONDS),
            ws="none",
        )
        log_sparingly()
        server = _Server(
            config,
            registry,
            announce=lambda: tell(f"serving {engine.trained.origin} at {address}"),
            on_signal=functools.partial(setattr, app.state.service, "is_stopping", True),
        )
        # After it has stopped, uvicorn raises the signal again; by then it has done its work.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Announces when it listens, and watches the connections while it does."""

    def __init__(
        self,
        config: uvicorn.Config,
        registry: ConnectionRegistry,
        *,
        announce: Callable[[], None],
        on_signal: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._registry = registry
        self._announce = announce
        self._on_signal = on_signal

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._registry.watch()
            self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_signal()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._registry.hurry()
        await super().shutdown(sockets)
        self._registry.stop_watching()


def _listen(host: str, port: int) -> socket.socket:
    """Binds an address before the network is loaded, so that a wrong one fails at once."""
    if not 0 <= port <= _MAX_PORT:
        raise ConfigError(f"port={port}: give 0 to {_MAX_PORT}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"cannot listen on {host} port {port}: {reason}") from None
    return listener
