"""Images that cannot be used."""

from __future__ import annotations

from resnet_jax.errors import ConfigError


class BadImageError(ConfigError):
    """An image that cannot be used; the message is the reason, without the name of the file."""


def refuse(reason: str) -> None:
    """Raises a `BadImageError` if there is a reason; an empty one is none."""
    if reason:
        raise BadImageError(reason)


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Refuses an image of too many pixels.

    Raises:
        BadImageError: It is too large.
    """
    if width * height > max_pixels:
        raise BadImageError(too_large(f"{width} x {height} pixels", max_pixels))


def too_large(size: str, max_pixels: int) -> str:
    """Says what is too large, and which field bounds it."""
    return f"the image is too large: {size}, and data.max_pixels={max_pixels}"
