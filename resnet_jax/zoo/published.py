"""The published weights of each network, and what each set expects of its images.

In `TAGS` the usual weights come first. A tag names the training: `a1_in1k` is a recipe
and its data. What follows the colon is a key of `STYLES`. Networks that were only described
have the tag `untrained`.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Literal

from resnet_jax.errors import ConfigError, nearest

Colour = tuple[float, float, float]

# The classes of weights that were not trained on, or for, ImageNet-1k, by the end of the tag.
_CLASSES = {"in12k": 11821, "in21k": 21843, "bamboo": 0}
# By the beginning of the tag.
_LICENSES = {"tv": "bsd-3-clause", "fb_": "cc-by-nc-4.0", "bamboo": None}
_UNTRAINED = "untrained"


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How images become inputs: resized to `size / crop_fraction`, cropped, normalised.

    Attributes:
        size: Rows and columns of the input.
        crop_fraction: What the centre crop takes of the shorter side of the resized image.
        interpolation: The filter of the resizing.
        mean: Mean of the colours red, green and blue, which run from 0 to 1.
        std: Their standard deviation.
        test_size: Larger size at which the weights do better still, if one is known.
        test_crop_fraction: Crop fraction at `test_size`; None takes `crop_fraction`.
    """

    size: int
    crop_fraction: float
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    mean: Colour = (0.485, 0.456, 0.406)
    std: Colour = (0.229, 0.224, 0.225)
    test_size: int | None = None
    test_crop_fraction: float | None = None


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A set of published weights.

    Attributes:
        name: The network.
        tag: The training, such as `a1_in1k`.
        preprocessing: What the weights expect of their images.
        num_classes: Outputs of the classifier; 0 where the weights have none.
        license: Licence of the weights, or None where it is not known.
    """

    name: str
    tag: str
    preprocessing: Preprocessing
    num_classes: int
    license: str | None

    @property
    def hub_id(self) -> str | None:
        """The repository on the Hugging Face hub, or None where nothing was published."""
        return None if self.tag == _UNTRAINED else f"timm/{self.name}.{self.tag}"


def pretrained_tags(name: str) -> list[str]:
    """Lists the tags of a network's published weights, the usual one first.

    Args:
        name: A network; those that timm does not know have no tags.
    """
    return [entry.partition(":")[0] for entry in TAGS.get(name, "").split()]


def pretrained_info(name: str) -> Pretrained:
    """Returns the record of published weights.

    Args:
        name: A network, such as `resnet50`, for its usual weights, or with a tag, such as
            `resnet50.a2_in1k`.

    Raises:
        ConfigError: There is no such network, or it has no weights of that tag.
    """
    network, _, tag = name.partition(".")
    if network not in TAGS:
        raise ConfigError(f"no weights are known for {network!r}.{nearest(network, TAGS)}")
    styles = dict(entry.split(":") for entry in TAGS[network].split())
    tag = tag or next(iter(styles))
    if tag not in styles:
        raise ConfigError(
            f"{network!r} has no weights {tag!r}; there are {', '.join(styles)}."
            f"{nearest(tag, styles)}"
        )
    classes = [count for end, count in _CLASSES.items() if tag.endswith(end)]
    licenses = [terms for start, terms in _LICENSES.items() if tag.startswith(start)]
    return Pretrained(
        network,
        tag,
        STYLES[styles[tag]],
        num_classes=classes[0] if classes else 1000,
        license=licenses[0] if licenses else "apache-2.0",
    )


_centred = functools.partial(Preprocessing, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

STYLES: Mapping[str, Preprocessing] = {
    "timm": Preprocessing(224, 0.875, test_size=288, test_crop_fraction=0.95),
    "rsb": Preprocessing(224, 0.95, test_size=288, test_crop_fraction=1.0),
    "rsb160": Preprocessing(160, 0.95, test_size=224, test_crop_fraction=0.95),
    "bicubic": Preprocessing(224, 0.875),
    "bilinear": Preprocessing(224, 0.875, interpolation="bilinear"),
    "tv2": Preprocessing(
        176, 0.875, interpolation="bilinear", test_size=224, test_crop_fraction=0.965
    ),
    "ra4": _centred(224, 0.9, test_size=288, test_crop_fraction=1.0),
    "rsb_centred": _centred(224, 0.95, test_size=288, test_crop_fraction=1.0),
    "centred": _centred(224, 0.875),
    "bit": _centred(224, 0.875, interpolation="bilinear"),
    "bit384": _centred(384, 1.0),
    "bit448": _centred(448, 1.0, interpolation="bilinear"),
    "bit480": _centred(480, 1.0, interpolation="bilinear"),
    "ra4_384": _centred(384, 1.0, test_size=448),
    "test": _centred(160, 0.95, interpolation="bilinear"),
    "ra2_256": Preprocessing(256, 0.95, test_size=320, test_crop_fraction=1.0),
    "ra2_256_94": Preprocessing(256, 0.94, test_size=320, test_crop_fraction=1.0),
    "timm256": Preprocessing(256, 0.875, test_size=320, test_crop_fraction=0.95),
    "timm256_288": Preprocessing(256, 0.875, test_size=288, test_crop_fraction=0.95),
    "rsb256": Preprocessing(256, 0.95, test_size=288, test_crop_fraction=0.95),
    "timm176": Preprocessing(176, 0.875, test_size=224, test_crop_fraction=0.95),
    "rsb176": Preprocessing(176, 0.9, test_size=224, test_crop_fraction=1.0),
    "gn": Preprocessing(224, 0.94, test_size=288, test_crop_fraction=0.95),
    "whole": Preprocessing(224, 1.0),
    "sw": Preprocessing(224, 0.875, test_size=288, test_crop_fraction=1.0),
    "sw288": Preprocessing(288, 0.95, test_size=320, test_crop_fraction=1.0),
    "ra2_320": Preprocessing(320, 0.95, test_size=352, test_crop_fraction=1.0),
    "sw320": Preprocessing(320, 0.95, test_size=384, test_crop_fraction=1.0),
    "sw384": Preprocessing(384, 1.0),
    "rs160": Preprocessing(160, 0.91, test_size=224),
    "rs192": Preprocessing(192, 0.94, test_size=288),
    "rs256": Preprocessing(256, 1.0, test_size=320),
    "rs256_352": Preprocessing(256, 1.0, test_size=352),
    "rs288": Preprocessing(288, 1.0, test_size=384),
    "rs320": Preprocessing(320, 1.0, test_size=416),
}

TAGS: Mapping[str, str] = {
    "ecaresnet26t": "ra2_in1k:timm256",
    "ecaresnet50d": "miil_in1k:timm",
    "ecaresnet50t": "ra2_in1k:timm256 a1_in1k:rsb a2_in1k:rsb a3_in1k:rsb160",
    "ecaresnet101d": "miil_in1k:timm",
    "ecaresnet200d": "untrained:rsb256",
    "ecaresnet269d": "ra2_in1k:ra2_320",
    "ecaresnetlight": "miil_in1k:timm",
    "ecaresnext26t_32x4d": "untrained:bicubic",
    "ecaresnext50t_32x4d": "untrained:bicubic",
    "resnet10t": "c3_in1k:timm176",
    "resnet14t": "c3_in1k:timm176",
    "resnet18": (
        "a1_in1k:rsb a2_in1k:rsb a3_in1k:rsb160 tv_in1k:bilinear fb_ssl_yfcc100m_ft_in1k:bilinear "
        "fb_swsl_ig1b_ft_in1k:bilinear gluon_in1k:bicubic"
    ),
    "resnet18d": "ra2_in1k:timm ra4_e3600_r224_in1k:ra4",
    "resnet26": "bt_in1k:timm",
    "resnet26d": "bt_in1k:timm",
    "resnet26t": "ra2_in1k:ra2_256_94",
    "resnet34": (
        "a1_in1k:rsb a2_in1k:rsb a3_in1k:rsb160 bt_in1k:timm ra4_e3600_r224_in1k:ra4 "
        "tv_in1k:bilinear gluon_in1k:bicubic"
    ),
    "resnet34d": "ra2_in1k:timm",
    "resnet50": (
        "a1_in1k:rsb a1h_in1k:rsb176 a2_in1k:rsb a3_in1k:rsb160 b1k_in1k:rsb b2k_in1k:rsb "
        "c1_in1k:rsb c2_in1k:rsb d_in1k:rsb ram_in1k:timm am_in1k:bicubic ra_in1k:timm "
        "bt_in1k:timm tv_in1k:bilinear tv2_in1k:tv2 bamboo:whole fb_ssl_yfcc100m_ft_in1k:bilinear "
        "fb_swsl_ig1b_ft_in1k:bilinear gluon_in1k:bicubic"
    ),
    "resnet50_gn": "a1h_in1k:gn",
    "resnet50c": "gluon_in1k:bicubic",
    "resnet50d": (
        "ra2_in1k:timm ra4_e3600_r224_in1k:rsb_centred a1_in1k:rsb a2_in1k:rsb a3_in1k:rsb160 "
        "gluon_in1k:bicubic"
    ),
    "resnet50s": "gluon_in1k:bicubic",
    "resnet50t": "untrained:timm",
    "resnet101": (
        "a1h_in1k:rsb a1_in1k:rsb a2_in1k:rsb a3_in1k:rsb160 tv_in1k:bilinear tv2_in1k:tv2 "
        "gluon_in1k:bicubic"
    ),
    "resnet101c": "gluon_in1k:bicubic",
    "resnet101d": "ra2_in1k:ra2_256 gluon_in1k:bicubic",
    "resnet101s": "gluon_in1k:bicubic",
    "resnet152": (
        "a1h_in1k:rsb a1_in1k:rsb a2_in1k:rsb a3_in1k:rsb160 tv_in1k:bilinear tv2_in1k:tv2 "
        "gluon_in1k:bicubic"
    ),
    "resnet152c": "gluon_in1k:bicubic",
    "resnet152d": "ra2_in1k:ra2_256 gluon_in1k:bicubic",
    "resnet152s": "gluon_in1k:bicubic",
    "resnet200": "untrained:timm",
    "resnet200d": "ra2_in1k:ra2_256",
    "resnetaa34d": "untrained:timm",
    "resnetaa50": "a1h_in1k:rsb",
    "resnetaa50d": "sw_in12k_ft_in1k:rsb sw_in12k:rsb d_in12k:rsb",
    "resnetaa101d": "sw_in12k_ft_in1k:rsb sw_in12k:rsb",
    "resnetblur18": "untrained:timm",
    "resnetblur50": "bt_in1k:timm",
    "resnetblur50d": "untrained:timm",
    "resnetblur101d": "untrained:timm",
    "resnetrs50": "tf_in1k:rs160",
    "resnetrs101": "tf_in1k:rs192",
    "resnetrs152": "tf_in1k:rs256",
    "resnetrs200": "tf_in1k:rs256",
    "resnetrs270": "tf_in1k:rs256_352",
    "resnetrs350": "tf_in1k:rs288",
    "resnetrs420": "tf_in1k:rs320",
    "resnext50_32x4d": (
        "a1h_in1k:rsb a1_in1k:rsb a2_in1k:rsb a3_in1k:rsb160 ra_in1k:timm tv_in1k:bilinear "
        "tv2_in1k:tv2 fb_ssl_yfcc100m_ft_in1k:bilinear fb_swsl_ig1b_ft_in1k:bilinear "
        "gluon_in1k:bicubic"
    ),
    "resnext50d_32x4d": "bt_in1k:timm",
    "resnext101_32x4d": (
        "fb_ssl_yfcc100m_ft_in1k:bilinear untrained:timm fb_swsl_ig1b_ft_in1k:bilinear "
        "gluon_in1k:bicubic"
    ),
    "resnext101_32x8d": (
        "tv_in1k:bilinear tv2_in1k:tv2 fb_wsl_ig1b_ft_in1k:bilinear "
        "fb_ssl_yfcc100m_ft_in1k:bilinear fb_swsl_ig1b_ft_in1k:bilinear"
    ),
    "resnext101_32x16d": (
        "fb_wsl_ig1b_ft_in1k:bilinear fb_ssl_yfcc100m_ft_in1k:bilinear "
        "fb_swsl_ig1b_ft_in1k:bilinear"
    ),
    "resnext101_32x32d": "fb_wsl_ig1b_ft_in1k:bilinear",
    "resnext101_64x4d": "c1_in1k:rsb tv_in1k:bilinear gluon_in1k:bicubic",
    "senet154": "gluon_in1k:bicubic",
    "seresnet18": "untrained:timm",
    "seresnet34": "untrained:timm",
    "seresnet50": "a1_in1k:rsb a2_in1k:rsb a3_in1k:rsb160 ra2_in1k:timm",
    "seresnet50t": "untrained:timm",
    "seresnet101": "untrained:timm",
    "seresnet152": "untrained:timm",
    "seresnet152d": "ra2_in1k:ra2_256",
    "seresnet200d": "untrained:timm256_288",
    "seresnet269d": "untrained:timm256_288",
    "seresnetaa50d": "untrained:timm",
    "seresnext26d_32x4d": "bt_in1k:timm",
    "seresnext26t_32x4d": "bt_in1k:timm",
    "seresnext50_32x4d": "racm_in1k:timm gluon_in1k:bicubic",
    "seresnext101_32x4d": "gluon_in1k:bicubic untrained:timm",
    "seresnext101_32x8d": "ah_in1k:rsb",
    "seresnext101_64x4d": "gluon_in1k:bicubic",
    "seresnext101d_32x8d": "ah_in1k:rsb",
    "seresnextaa101d_32x8d": (
        "sw_in12k_ft_in1k_288:sw288 sw_in12k_ft_in1k:sw sw_in12k:rsb ah_in1k:rsb"
    ),
    "seresnextaa201d_32x8d": "sw_in12k_ft_in1k_384:sw384 sw_in12k:sw320",
    "test_resnet": "r160_in1k:test",
    "wide_resnet50_2": "racm_in1k:timm tv_in1k:bilinear tv2_in1k:tv2",
    "wide_resnet101_2": "tv_in1k:bilinear tv2_in1k:tv2",
    "resnetv2_18": "ra4_e3600_r224_in1k:ra4",
    "resnetv2_18d": "ra4_e3600_r224_in1k:ra4",
    "resnetv2_34": "ra4_e3600_r224_in1k:ra4",
    "resnetv2_34d": "ra4_e3600_r224_in1k:ra4 ra4_e3600_r384_in1k:ra4_384",
    "resnetv2_50": "a1h_in1k:rsb_centred",
    "resnetv2_50d": "untrained:centred",
    "resnetv2_50d_evos": "ah_in1k:rsb_centred",
    "resnetv2_50d_frn": "untrained:centred",
    "resnetv2_50d_gn": "ah_in1k:rsb_centred",
    "resnetv2_50t": "untrained:centred",
    "resnetv2_50x1_bit": "goog_distilled_in1k:centred goog_in21k_ft_in1k:bit448 goog_in21k:bit",
    "resnetv2_50x3_bit": "goog_in21k_ft_in1k:bit448 goog_in21k:bit",
    "resnetv2_101": "a1h_in1k:rsb_centred",
    "resnetv2_101d": "untrained:centred",
    "resnetv2_101x1_bit": "goog_in21k_ft_in1k:bit448 goog_in21k:bit",
    "resnetv2_101x3_bit": "goog_in21k_ft_in1k:bit448 goog_in21k:bit",
    "resnetv2_152": "untrained:centred",
    "resnetv2_152d": "untrained:centred",
    "resnetv2_152x2_bit": (
        "goog_teacher_in21k_ft_in1k:centred goog_teacher_in21k_ft_in1k_384:bit384 "
        "goog_in21k_ft_in1k:bit448 goog_in21k:bit"
    ),
    "resnetv2_152x4_bit": "goog_in21k_ft_in1k:bit480 goog_in21k:bit",
}
