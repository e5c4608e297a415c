"""The operations of which AutoAugment and its kin are made: Pillow's, on one image of 8 bits.

They are Pillow's because the papers' are: `Equalize`, `AutoContrast` or `Sharpness` of another
library give other pixels, and the policies were found with these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from PIL import Image, ImageEnhance, ImageOps

Filter = Literal["nearest", "bilinear", "bicubic"]
Colour = tuple[int, ...]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_AFFINE = Image.Transform.AFFINE
_SOLARIZE_ADD_BELOW = 128


@dataclass(frozen=True)
class Operation:
    """One change of an image.

    Attributes:
        name: A key of `OPERATIONS`.
        value: Its strength in the units of that operation, with its sign; 0 where it has none.
    """

    name: str
    value: float = 0.0


@dataclass(frozen=True)
class Canvas:
    """How an operation that moves pixels draws them.

    Attributes:
        filter: Between pixels.
        fill: The level of what comes from outside of the image, one a channel.
    """

    filter: Filter = "nearest"
    fill: Colour = (0, 0, 0)


PLAIN_CANVAS = Canvas()


def apply_operation(image: Image.Image, operation: Operation, canvas: Canvas) -> Image.Image:
    """Changes an image.

    Args:
        image: Greyscale (L) or RGB.
        operation: What to do and how strongly.
        canvas: How to draw pixels that move.

    Returns:
        An image of the same size and mode.
    """
    return OPERATIONS[operation.name](image, operation.value, canvas)


def _moved(image: Image.Image, matrix: tuple[float, ...], canvas: Canvas) -> Image.Image:
    fill = canvas.fill if image.mode == "RGB" else canvas.fill[0]
    return image.transform(
        image.size, _AFFINE, matrix, resample=_FILTERS[canvas.filter], fillcolor=fill
    )


def _shear_x(image: Image.Image, value: float, canvas: Canvas) -> Image.Image:
    return _moved(image, (1, value, 0, 0, 1, 0), canvas)


def _shear_y(image: Image.Image, value: float, canvas: Canvas) -> Image.Image:
    return _moved(image, (1, 0, 0, value, 1, 0), canvas)


def _translate_x(image: Image.Image, value: float, canvas: Canvas) -> Image.Image:
    return _moved(image, (1, 0, -value, 0, 1, 0), canvas)


def _translate_y(image: Image.Image, value: float, canvas: Canvas) -> Image.Image:
    return _moved(image, (1, 0, 0, 0, 1, -value), canvas)


def _rotate(image: Image.Image, value: float, canvas: Canvas) -> Image.Image:
    fill = canvas.fill if image.mode == "RGB" else canvas.fill[0]
    return image.rotate(value, resample=_FILTERS[canvas.filter], fillcolor=fill)


def _posterize(image: Image.Image, value: float, canvas: Canvas) -> Image.Image:
    del canvas
    if value < 1:  # of timm's form at its strongest; Pillow itself refuses to keep nothing
        return image.point([0] * 256 * len(image.getbands()))
    return ImageOps.posterize(image, int(value))


def _solarize(image: Image.Image, value: float, canvas: Canvas) -> Image.Image:
    del canvas
    return ImageOps.solarize(image, value)  # type: ignore[arg-type]  # a comparison, of any number


def _solarize_add(image: Image.Image, value: float, canvas: Canvas) -> Image.Image:
    del canvas
    levels = [
        min(255, level + int(value)) if level < _SOLARIZE_ADD_BELOW else level
        for level in range(256)
    ]
    return image.point(levels * len(image.getbands()))


def _auto_contrast(image: Image.Image, value: float, canvas: Canvas) -> Image.Image:
    del value, canvas
    return ImageOps.autocontrast(image)


def _equalize(image: Image.Image, value: float, canvas: Canvas) -> Image.Image:
    del value, canvas
    return ImageOps.equalize(image)


def _invert(image: Image.Image, value: float, canvas: Canvas) -> Image.Image:
    del value, canvas
    return ImageOps.invert(image)


def _identity(image: Image.Image, value: float, canvas: Canvas) -> Image.Image:
    del value, canvas
    return image


class _Enhancer(Protocol):
    def enhance(self, factor: float) -> Image.Image: ...


def _enhanced(
    enhancer: Callable[[Image.Image], _Enhancer],
) -> Callable[[Image.Image, float, Canvas], Image.Image]:
    def enhance(image: Image.Image, value: float, canvas: Canvas) -> Image.Image:
        del canvas
        return enhancer(image).enhance(1 + value)

    return enhance


OPERATIONS: dict[str, Callable[[Image.Image, float, Canvas], Image.Image]] = {
    "ShearX": _shear_x,  # columns per row
    "ShearY": _shear_y,  # rows per column
    "TranslateX": _translate_x,  # pixels to the right
    "TranslateY": _translate_y,  # pixels downward
    "Rotate": _rotate,  # degrees against the clock
    "Brightness": _enhanced(ImageEnhance.Brightness),  # -1 is black, 0 changes nothing
    "Color": _enhanced(ImageEnhance.Color),  # -1 is grey
    "Contrast": _enhanced(ImageEnhance.Contrast),  # -1 is one level of grey
    "Sharpness": _enhanced(ImageEnhance.Sharpness),  # -1 is blurred
    "Posterize": _posterize,  # bits that stay
    "Solarize": _solarize,  # the level from which on levels are inverted
    "SolarizeAdd": _solarize_add,  # added to the levels of the darker half
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
    "Invert": _invert,
    "Identity": _identity,
}
"""Every operation, with the meaning of its value."""
