"""How strong each operation of a policy is: its value for a strength from 0 to 1."""

from __future__ import annotations

USUAL = (
    *("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color"),
    *("Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"),
)
"""The operations of RandAugment and TrivialAugment."""

INCREASING = (
    *("AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize", "SolarizeAdd"),
    *("Color", "Contrast", "Brightness", "Sharpness", "ShearX", "ShearY", "TranslateX"),
    "TranslateY",
)
"""The operations of timm's RandAugment."""

_ENHANCEMENTS = ("Brightness", "Color", "Contrast", "Sharpness")

SIGNED = frozenset(("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", *_ENHANCEMENTS))
"""The operations whose value may be negative: its sign is drawn."""


def usual_value(name: str, share: float, size: tuple[int, int]) -> float:
    """Gives the value of an operation in AutoAugment and RandAugment.

    Args:
        name: The operation.
        share: Its strength, from 0 to 1.
        size: Height and width of the image in pixels; a shift is a share of them.

    Returns:
        The value of `Operation`, without its sign.
    """
    match name:
        case "ShearX" | "ShearY":
            return 0.3 * share
        case "TranslateX":
            return float(int(150 / 331 * size[1] * share))
        case "TranslateY":
            return float(int(150 / 331 * size[0] * share))
        case "Rotate":
            return 30 * share
        case "Posterize":
            return 8 - round(4 * share)
        case "Solarize":
            return 255 * (1 - share)
    return 0.9 * share if name in _ENHANCEMENTS else 0.0


def wide_value(name: str, share: float, size: tuple[int, int]) -> float:
    """Gives the value of an operation in TrivialAugment, as `usual_value` does."""
    del size
    match name:
        case "ShearX" | "ShearY":
            return 0.99 * share
        case "TranslateX" | "TranslateY":
            return float(int(32 * share))
        case "Rotate":
            return 135 * share
        case "Posterize":
            return 8 - round(6 * share)
        case "Solarize":
            return 255 * (1 - share)
    return 0.99 * share if name in _ENHANCEMENTS else 0.0


def increasing_value(name: str, share: float, size: tuple[int, int]) -> float:
    """Gives the value of an operation in timm's RandAugment, as `usual_value` does."""
    match name:
        case "ShearX" | "ShearY":
            return 0.3 * share
        case "TranslateX":
            return 0.45 * share * size[1]
        case "TranslateY":
            return 0.45 * share * size[0]
        case "Rotate":
            return 30 * share
        case "Posterize":
            return 4 - int(4 * share)
        case "Solarize":
            return 256 - int(256 * share)
        case "SolarizeAdd":
            return int(110 * share)
    return 0.9 * share if name in _ENHANCEMENTS else 0.0
