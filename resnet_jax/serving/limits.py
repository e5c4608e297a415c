"""Which requests the service accepts, and how long it waits."""

from __future__ import annotations

import dataclasses

from resnet_jax.errors import ConfigError

_DAY = 86_400


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds on requests and batches.

    Attributes:
        body_bytes: The most bytes in the body of a request.
        image_pixels: The most pixels of an image, before and after it is resized.
        queue: The most requests at a time, from their first byte to the response; further ones are
            rejected.
        batch_size: The most images computed together.
        wait_seconds: How long the first image of a batch waits for others.
        request_seconds: How long a request may take to arrive, and then to be answered.
    """

    body_bytes: int = 10 * 2**20
    image_pixels: int = 40_000_000
    queue: int = 64
    batch_size: int = 16
    wait_seconds: float = 0.005
    request_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: A value is out of range.
        """
        for name in ("body_bytes", "image_pixels", "queue", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: give 1 or more")
        if not 0 < self.request_seconds <= _DAY:
            raise ConfigError(
                f"request_seconds={self.request_seconds}: give a number above 0, at most {_DAY}"
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
        super().__init__(reason)
        self.status = status
        self.reason = reason
