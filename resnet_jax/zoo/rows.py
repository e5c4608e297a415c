"""The table: each network a name and what sets it apart from the one that it varies."""

from collections.abc import Iterator, Mapping
from typing import Any

from resnet_jax.models import ResNetConfig

Row = dict[str, Any]

_BASIC: Row = {"widths": (64, 128, 256, 512)}
_BOTTLENECK: Row = {"widths": (256, 512, 1024, 2048), "block": "bottleneck"}

_DEPTHS: Mapping[int, tuple[int, ...]] = {
    10: (1, 1, 1, 1),
    14: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    26: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    154: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    269: (3, 30, 48, 8),
}
_SMALL = (10, 18, 34)  # of basic blocks

# Letters after the depth. c, d: He et al. 2018 (https://arxiv.org/abs/1812.01187); s and t are
# wider and tiered deep stems.
_LETTERS: Mapping[str, Row] = {
    "": {},
    "c": {"stem": "deep"},
    "d": {"stem": "deep", "shortcut": "d"},
    "s": {"stem": "deep", "stem_features": 128},
    "t": {"stem": "tiered", "shortcut": "d"},
}
_SE: Row = {"attention": "se"}
_ECA: Row = {"attention": "eca"}
_BLUR: Row = {"antialiasing": "blur", "stem_pool": "max_and_blur"}
_AVERAGE: Row = {"antialiasing": "average", "stem_pool": "average"}
_GROUP: Row = {"norm": "group"}


def _resnet(layers: int, letter: str = "", **row: Any) -> ResNetConfig:
    base = _BASIC if layers in _SMALL else _BOTTLENECK
    return ResNetConfig(**{"depths": _DEPTHS[layers], **base, **_LETTERS[letter], **row})


def _next(groups: int, width: int) -> Row:
    """ResNeXt: the 3x3 convolutions of the first stage have `groups` groups of `width` channels."""
    return {"groups": groups, "mid_ratio": groups * width / 256}


def _preactivation(layers: int, letter: str = "", **row: Any) -> ResNetConfig:
    block = "preactivation_basic" if layers in _SMALL else "preactivation_bottleneck"
    return _resnet(layers, letter, **{"block": block, **row})


def _bit(layers: int, factor: int) -> ResNetConfig:
    """Big Transfer (Kolesnikov et al. 2019, https://arxiv.org/abs/1912.11370)."""
    return _preactivation(
        layers,
        widths=tuple(factor * width for width in _BOTTLENECK["widths"]),
        stem_features=64 * factor,
        stem_pool="zero_padded_max",
        norm="group",
        convolution="standardized",
    )


def _scaled(*depths: int) -> ResNetConfig:
    """ResNet-RS (Bello et al. 2021, https://arxiv.org/abs/2103.07579)."""
    return _resnet(50, "d", depths=depths, stem_pool="conv", squeeze_ratio=1 / 4, **_SE)


def _cifar(depth: int, **row: Any) -> ResNetConfig:
    """Three stages of equal depth, for images of 32 pixels."""
    base: Row = {"widths": (16, 32, 64), "stem": "cifar", "stem_features": 16, "num_classes": 10}
    return ResNetConfig(**{"depths": (depth,) * 3, **base, **row})


def _wide(layers: int, factor: int) -> ResNetConfig:
    """Wide residual networks (Zagoruyko and Komodakis 2016, https://arxiv.org/abs/1605.07146)."""
    widths = tuple(factor * width for width in (16, 32, 64))
    return _cifar((layers - 4) // 6, widths=widths, block="preactivation_basic")


def _numbered() -> Iterator[tuple[str, ResNetConfig]]:
    """ResNets whose name is a depth and a letter."""
    series = {
        "": (18, 26, 34, 50, 101, 152, 200),
        "c": (50, 101, 152),
        "d": (18, 26, 34, 50, 101, 152, 200),
        "s": (50, 101, 152),
        "t": (10, 14, 26, 50),
    }
    for letter, depths in series.items():
        for layers in depths:
            yield f"resnet{layers}{letter}", _resnet(layers, letter)


def _named() -> dict[str, ResNetConfig]:
    """Other networks of timm's resnet.py."""
    return {
        "wide_resnet50_2": _resnet(50, mid_ratio=1 / 2),
        "wide_resnet101_2": _resnet(101, mid_ratio=1 / 2),
        "resnet50_gn": _resnet(50, **_GROUP),
        "resnext50_32x4d": _resnet(50, **_next(32, 4)),
        "resnext50d_32x4d": _resnet(50, "d", **_next(32, 4)),
        "resnext101_32x4d": _resnet(101, **_next(32, 4)),
        "resnext101_32x8d": _resnet(101, **_next(32, 8)),
        "resnext101_32x16d": _resnet(101, **_next(32, 16)),
        "resnext101_32x32d": _resnet(101, **_next(32, 32)),
        "resnext101_64x4d": _resnet(101, **_next(64, 4)),
        "ecaresnet26t": _resnet(26, "t", **_ECA),
        "ecaresnet50d": _resnet(50, "d", **_ECA),
        "ecaresnet50t": _resnet(50, "t", **_ECA),
        "ecaresnetlight": _resnet(50, depths=(1, 1, 11, 3), shortcut="d", **_ECA),
        "ecaresnet101d": _resnet(101, "d", **_ECA),
        "ecaresnet200d": _resnet(200, "d", **_ECA),
        "ecaresnet269d": _resnet(269, "d", **_ECA),
        "ecaresnext26t_32x4d": _resnet(26, "t", **_next(32, 4), **_ECA),
        "ecaresnext50t_32x4d": _resnet(50, "t", **_next(32, 4), **_ECA),
        "seresnet18": _resnet(18, **_SE),
        "seresnet34": _resnet(34, **_SE),
        "seresnet50": _resnet(50, **_SE),
        "seresnet50t": _resnet(50, "t", **_SE),
        "seresnet101": _resnet(101, **_SE),
        "seresnet152": _resnet(152, **_SE),
        "seresnet152d": _resnet(152, "d", **_SE),
        "seresnet200d": _resnet(200, "d", **_SE),
        "seresnet269d": _resnet(269, "d", **_SE),
        "seresnext26d_32x4d": _resnet(26, "d", **_next(32, 4), **_SE),
        "seresnext26t_32x4d": _resnet(26, "t", **_next(32, 4), **_SE),
        "seresnext50_32x4d": _resnet(50, **_next(32, 4), **_SE),
        "seresnext101_32x4d": _resnet(101, **_next(32, 4), **_SE),
        "seresnext101_32x8d": _resnet(101, **_next(32, 8), **_SE),
        "seresnext101d_32x8d": _resnet(101, "d", **_next(32, 8), **_SE),
        "seresnext101_64x4d": _resnet(101, **_next(64, 4), **_SE),
        "senet154": _resnet(154, "s", shortcut="b3x3", first_ratio=1 / 2, **_next(64, 4), **_SE),
        "resnetblur18": _resnet(18, **_BLUR),
        "resnetblur50": _resnet(50, **_BLUR),
        "resnetblur50d": _resnet(50, "d", **_BLUR),
        "resnetblur101d": _resnet(101, "d", **_BLUR),
        "resnetaa34d": _resnet(34, "d", **_AVERAGE),
        "resnetaa50": _resnet(50, **_AVERAGE),
        "resnetaa50d": _resnet(50, "d", **_AVERAGE),
        "resnetaa101d": _resnet(101, "d", **_AVERAGE),
        "seresnetaa50d": _resnet(50, "d", **_AVERAGE, **_SE),
        "seresnextaa101d_32x8d": _resnet(101, "d", **_next(32, 8), **_AVERAGE, **_SE),
        "seresnextaa201d_32x8d": _resnet(
            200,
            "d",
            depths=(3, 24, 36, 4),
            stem_features=128,
            **_next(32, 8),
            **_AVERAGE,
            **_SE,
        ),
        "resnetrs50": _scaled(3, 4, 6, 3),
        "resnetrs101": _scaled(3, 4, 23, 3),
        "resnetrs152": _scaled(3, 8, 36, 3),
        "resnetrs200": _scaled(3, 24, 36, 3),
        "resnetrs270": _scaled(4, 29, 53, 4),
        "resnetrs350": _scaled(4, 36, 72, 4),
        "resnetrs420": _scaled(4, 44, 87, 4),
        "test_resnet": _resnet(
            10,
            "d",
            block=("basic", "basic", "bottleneck", "basic"),
            widths=(32, 48, 192, 96),
            stem_features=32,
        ),
    }


def _second() -> dict[str, ResNetConfig]:
    """The networks of timm's resnetv2.py (He et al. 2016, https://arxiv.org/abs/1603.05027)."""
    names = ["18", "18d", "34", "34d", "50", "50d", "50t", "101", "101d", "152", "152d"]
    plain = {
        f"resnetv2_{name}": _preactivation(int(name.rstrip("dt")), name.lstrip("0123456789"))
        for name in names
    }
    bit = {
        f"resnetv2_{layers}x{factor}_bit": _bit(layers, factor)
        for layers, factor in ((50, 1), (50, 3), (101, 1), (101, 3), (152, 2), (152, 4))
    }
    others = {
        "resnetv2_50d_gn": _preactivation(50, "d", **_GROUP),
        "resnetv2_50d_evos": _preactivation(50, "d", norm="evonorm_s0"),
        "resnetv2_50d_frn": _preactivation(50, "d", norm="frn_tlu"),
    }
    return plain | bit | others


def _small_images() -> dict[str, ResNetConfig]:
    """The networks for CIFAR, and the plain ones that degrade."""
    table = {"plain18": _resnet(18, block="plain"), "plain34": _resnet(34, block="plain")}
    # He et al. 2015, section 4.2: 6n + 2 layers. The paper begins at n = 3; n = 1 is the smallest
    # network with every part of the others, for tests and first tries.
    for layers in (8, 20, 32, 44, 56, 110, 1202):
        table[f"resnet{layers}"] = _cifar((layers - 2) // 6, shortcut="a")
    for layers in (8, 20, 32, 44, 56, 110):
        table[f"plain{layers}"] = _cifar((layers - 2) // 6, block="plain", shortcut="a")
    # He et al. 2016, section 5: 6n + 2 layers of basic blocks, 9n + 2 of bottlenecks.
    table["preact_resnet110"] = _cifar(18, block="preactivation_basic", shortcut="a")
    for layers in (164, 1001):
        table[f"preact_resnet{layers}"] = _cifar(
            (layers - 2) // 9, block="preactivation_bottleneck", widths=(64, 128, 256)
        )
    for layers, factor in ((16, 8), (28, 10), (40, 4)):
        table[f"wide_resnet{layers}_{factor}"] = _wide(layers, factor)
    return table


TABLE: Mapping[str, ResNetConfig] = {
    **dict(_numbered()),
    **_named(),
    **_second(),
    **_small_images(),
}
