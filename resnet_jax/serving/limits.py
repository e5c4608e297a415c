"""Which connections and requests the service accepts, and how long it waits."""

from __future__ import annotations

import dataclasses

from resnet_jax.errors import ConfigError

_DAY = 86_400
_COUNTS = (
    "body_bytes",
    "image_pixels",
    "queue",
    "batch_size",
    "decoders",
    "connections",
    "connections_per_address",
)


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds on connections, requests and batches.

    Attributes:
        body_bytes: The most bytes in the body of a request.
        image_pixels: The most pixels of an image, before and after it is resized.
        queue: The most requests at a time, from their first byte to the response; further ones are
            rejected.
        batch_size: The most images computed together.
        wait_seconds: How long the first image of a batch waits for others.
        request_seconds: How long a request may take to arrive, and then to be answered.
        decoders: Processes that decode images.
        decode_seconds: How long decoding an image may take; then its process is replaced.
        connections: The most connections at a time.
        connections_per_address: The most of them from one address.
        head_seconds: How long a connection may take to bring the head of a request.
        hosts: Names in `Host` that are accepted besides those of the loopback interface.
        origins: Origins whose pages may send images, as browsers name them: in lower case and
            without a path.
    """

    body_bytes: int = 10 * 2**20
    image_pixels: int = 40_000_000
    queue: int = 64
    batch_size: int = 16
    wait_seconds: float = 0.005
    request_seconds: float = 30.0
    decoders: int = 4
    decode_seconds: float = 10.0
    connections: int = 512
    connections_per_address: int = 256
    head_seconds: float = 10.0
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: A value is out of range.
        """
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: give 1 or more")
        for name in ("request_seconds", "decode_seconds", "head_seconds"):
            if not 0 < getattr(self, name) <= _DAY:
                raise ConfigError(
                    f"{name}={getattr(self, name)}: give a number above 0, at most {_DAY}"
                )
        if not 0 <= self.wait_seconds < self.request_seconds:
            raise ConfigError(
                f"wait_seconds={self.wait_seconds}: give a number from 0 to below "
                f"request_seconds={self.request_seconds}"
            )


class RequestError(Exception):
    """A request was rejected.

    Args:
        status: The HTTP status.
        reason: One line for the client.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)  # all of it, for processes that pass it on
        self.status = status
        self.reason = reason
