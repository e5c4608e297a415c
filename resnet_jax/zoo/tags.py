"""The published weights of each network, as data: a tag for each training, and its preprocessing.

A tag names a training: `a1_in1k` is a recipe and its data. The usual weights come first. Networks
that were described but never published have the tag `untrained`.
"""

import functools
from collections.abc import Mapping

from resnet_jax.zoo.preprocessing import Preprocessing

Tags = Mapping[str, Preprocessing]

_centred = functools.partial(Preprocessing, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

_TIMM = Preprocessing(224, 0.875, test_size=288, test_crop_fraction=0.95)
_RSB = Preprocessing(224, 0.95, test_size=288, test_crop_fraction=1.0)
_RSB_160 = Preprocessing(160, 0.95, test_size=224, test_crop_fraction=0.95)
_BICUBIC = Preprocessing(224, 0.875)
_BILINEAR = Preprocessing(224, 0.875, interpolation="bilinear")
_TV2 = Preprocessing(176, 0.875, interpolation="bilinear", test_size=224, test_crop_fraction=0.965)
_RA4 = _centred(224, 0.9, test_size=288, test_crop_fraction=1.0)
_RSB_CENTRED = _centred(224, 0.95, test_size=288, test_crop_fraction=1.0)
_CENTRED = _centred(224, 0.875)
_BIT = _centred(224, 0.875, interpolation="bilinear")
_BIT_384 = _centred(384, 1.0)
_BIT_448 = _centred(448, 1.0, interpolation="bilinear")
_BIT_480 = _centred(480, 1.0, interpolation="bilinear")
_RA4_384 = _centred(384, 1.0, test_size=448)
_TEST = _centred(160, 0.95, interpolation="bilinear")
_RA2_256 = Preprocessing(256, 0.95, test_size=320, test_crop_fraction=1.0)
_RA2_256_94 = Preprocessing(256, 0.94, test_size=320, test_crop_fraction=1.0)
_TIMM_256 = Preprocessing(256, 0.875, test_size=320, test_crop_fraction=0.95)
_TIMM_256_288 = Preprocessing(256, 0.875, test_size=288, test_crop_fraction=0.95)
_RSB_256 = Preprocessing(256, 0.95, test_size=288, test_crop_fraction=0.95)
_TIMM_176 = Preprocessing(176, 0.875, test_size=224, test_crop_fraction=0.95)
_RSB_176 = Preprocessing(176, 0.9, test_size=224, test_crop_fraction=1.0)
_GN = Preprocessing(224, 0.94, test_size=288, test_crop_fraction=0.95)
_WHOLE = Preprocessing(224, 1.0)
_SW = Preprocessing(224, 0.875, test_size=288, test_crop_fraction=1.0)
_SW_288 = Preprocessing(288, 0.95, test_size=320, test_crop_fraction=1.0)
_RA2_320 = Preprocessing(320, 0.95, test_size=352, test_crop_fraction=1.0)
_SW_320 = Preprocessing(320, 0.95, test_size=384, test_crop_fraction=1.0)
_SW_384 = Preprocessing(384, 1.0)
_RS_160 = Preprocessing(160, 0.91, test_size=224)
_RS_192 = Preprocessing(192, 0.94, test_size=288)
_RS_256 = Preprocessing(256, 1.0, test_size=320)
_RS_256_352 = Preprocessing(256, 1.0, test_size=352)
_RS_288 = Preprocessing(288, 1.0, test_size=384)
_RS_320 = Preprocessing(320, 1.0, test_size=416)

# Trainings that many networks went through.
_STRIKES_BACK: Tags = {"a1_in1k": _RSB, "a2_in1k": _RSB, "a3_in1k": _RSB_160}
_TORCHVISION: Tags = {"tv_in1k": _BILINEAR, "tv2_in1k": _TV2}
_SEMI_SUPERVISED: Tags = {"fb_ssl_yfcc100m_ft_in1k": _BILINEAR, "fb_swsl_ig1b_ft_in1k": _BILINEAR}
_BIG_TRANSFER: Tags = {"goog_in21k_ft_in1k": _BIT_448, "goog_in21k": _BIT}
_GLUON: Tags = {"gluon_in1k": _BICUBIC}
_UNTRAINED: Tags = {"untrained": _TIMM}

TAGS: Mapping[str, Tags] = {
    "ecaresnet26t": {"ra2_in1k": _TIMM_256},
    "ecaresnet50d": {"miil_in1k": _TIMM},
    "ecaresnet50t": {"ra2_in1k": _TIMM_256, **_STRIKES_BACK},
    "ecaresnet101d": {"miil_in1k": _TIMM},
    "ecaresnet200d": {"untrained": _RSB_256},
    "ecaresnet269d": {"ra2_in1k": _RA2_320},
    "ecaresnetlight": {"miil_in1k": _TIMM},
    "ecaresnext26t_32x4d": {"untrained": _BICUBIC},
    "ecaresnext50t_32x4d": {"untrained": _BICUBIC},
    "resnet10t": {"c3_in1k": _TIMM_176},
    "resnet14t": {"c3_in1k": _TIMM_176},
    "resnet18": {**_STRIKES_BACK, "tv_in1k": _BILINEAR, **_SEMI_SUPERVISED, **_GLUON},
    "resnet18d": {"ra2_in1k": _TIMM, "ra4_e3600_r224_in1k": _RA4},
    "resnet26": {"bt_in1k": _TIMM},
    "resnet26d": {"bt_in1k": _TIMM},
    "resnet26t": {"ra2_in1k": _RA2_256_94},
    "resnet34": {
        **_STRIKES_BACK,
        "bt_in1k": _TIMM,
        "ra4_e3600_r224_in1k": _RA4,
        "tv_in1k": _BILINEAR,
        **_GLUON,
    },
    "resnet34d": {"ra2_in1k": _TIMM},
    "resnet50": {
        "a1_in1k": _RSB,
        "a1h_in1k": _RSB_176,
        "a2_in1k": _RSB,
        "a3_in1k": _RSB_160,
        "b1k_in1k": _RSB,
        "b2k_in1k": _RSB,
        "c1_in1k": _RSB,
        "c2_in1k": _RSB,
        "d_in1k": _RSB,
        "ram_in1k": _TIMM,
        "am_in1k": _BICUBIC,
        "ra_in1k": _TIMM,
        "bt_in1k": _TIMM,
        **_TORCHVISION,
        "bamboo": _WHOLE,
        **_SEMI_SUPERVISED,
        **_GLUON,
    },
    "resnet50_gn": {"a1h_in1k": _GN},
    "resnet50c": _GLUON,
    "resnet50d": {
        "ra2_in1k": _TIMM,
        "ra4_e3600_r224_in1k": _RSB_CENTRED,
        **_STRIKES_BACK,
        **_GLUON,
    },
    "resnet50s": _GLUON,
    "resnet50t": _UNTRAINED,
    "resnet101": {"a1h_in1k": _RSB, **_STRIKES_BACK, **_TORCHVISION, **_GLUON},
    "resnet101c": _GLUON,
    "resnet101d": {"ra2_in1k": _RA2_256, **_GLUON},
    "resnet101s": _GLUON,
    "resnet152": {"a1h_in1k": _RSB, **_STRIKES_BACK, **_TORCHVISION, **_GLUON},
    "resnet152c": _GLUON,
    "resnet152d": {"ra2_in1k": _RA2_256, **_GLUON},
    "resnet152s": _GLUON,
    "resnet200": _UNTRAINED,
    "resnet200d": {"ra2_in1k": _RA2_256},
    "resnetaa34d": _UNTRAINED,
    "resnetaa50": {"a1h_in1k": _RSB},
    "resnetaa50d": {"sw_in12k_ft_in1k": _RSB, "sw_in12k": _RSB, "d_in12k": _RSB},
    "resnetaa101d": {"sw_in12k_ft_in1k": _RSB, "sw_in12k": _RSB},
    "resnetblur18": _UNTRAINED,
    "resnetblur50": {"bt_in1k": _TIMM},
    "resnetblur50d": _UNTRAINED,
    "resnetblur101d": _UNTRAINED,
    "resnetrs50": {"tf_in1k": _RS_160},
    "resnetrs101": {"tf_in1k": _RS_192},
    "resnetrs152": {"tf_in1k": _RS_256},
    "resnetrs200": {"tf_in1k": _RS_256},
    "resnetrs270": {"tf_in1k": _RS_256_352},
    "resnetrs350": {"tf_in1k": _RS_288},
    "resnetrs420": {"tf_in1k": _RS_320},
    "resnext50_32x4d": {
        "a1h_in1k": _RSB,
        **_STRIKES_BACK,
        "ra_in1k": _TIMM,
        **_TORCHVISION,
        **_SEMI_SUPERVISED,
        **_GLUON,
    },
    "resnext50d_32x4d": {"bt_in1k": _TIMM},
    "resnext101_32x4d": {
        "fb_ssl_yfcc100m_ft_in1k": _BILINEAR,
        **_UNTRAINED,
        "fb_swsl_ig1b_ft_in1k": _BILINEAR,
        **_GLUON,
    },
    "resnext101_32x8d": {**_TORCHVISION, "fb_wsl_ig1b_ft_in1k": _BILINEAR, **_SEMI_SUPERVISED},
    "resnext101_32x16d": {"fb_wsl_ig1b_ft_in1k": _BILINEAR, **_SEMI_SUPERVISED},
    "resnext101_32x32d": {"fb_wsl_ig1b_ft_in1k": _BILINEAR},
    "resnext101_64x4d": {"c1_in1k": _RSB, "tv_in1k": _BILINEAR, **_GLUON},
    "senet154": _GLUON,
    "seresnet18": _UNTRAINED,
    "seresnet34": _UNTRAINED,
    "seresnet50": {**_STRIKES_BACK, "ra2_in1k": _TIMM},
    "seresnet50t": _UNTRAINED,
    "seresnet101": _UNTRAINED,
    "seresnet152": _UNTRAINED,
    "seresnet152d": {"ra2_in1k": _RA2_256},
    "seresnet200d": {"untrained": _TIMM_256_288},
    "seresnet269d": {"untrained": _TIMM_256_288},
    "seresnetaa50d": _UNTRAINED,
    "seresnext26d_32x4d": {"bt_in1k": _TIMM},
    "seresnext26t_32x4d": {"bt_in1k": _TIMM},
    "seresnext50_32x4d": {"racm_in1k": _TIMM, **_GLUON},
    "seresnext101_32x4d": {**_GLUON, **_UNTRAINED},
    "seresnext101_32x8d": {"ah_in1k": _RSB},
    "seresnext101_64x4d": _GLUON,
    "seresnext101d_32x8d": {"ah_in1k": _RSB},
    "seresnextaa101d_32x8d": {
        "sw_in12k_ft_in1k_288": _SW_288,
        "sw_in12k_ft_in1k": _SW,
        "sw_in12k": _RSB,
        "ah_in1k": _RSB,
    },
    "seresnextaa201d_32x8d": {"sw_in12k_ft_in1k_384": _SW_384, "sw_in12k": _SW_320},
    "test_resnet": {"r160_in1k": _TEST},
    "wide_resnet50_2": {"racm_in1k": _TIMM, **_TORCHVISION},
    "wide_resnet101_2": _TORCHVISION,
    "resnetv2_18": {"ra4_e3600_r224_in1k": _RA4},
    "resnetv2_18d": {"ra4_e3600_r224_in1k": _RA4},
    "resnetv2_34": {"ra4_e3600_r224_in1k": _RA4},
    "resnetv2_34d": {"ra4_e3600_r224_in1k": _RA4, "ra4_e3600_r384_in1k": _RA4_384},
    "resnetv2_50": {"a1h_in1k": _RSB_CENTRED},
    "resnetv2_50d": {"untrained": _CENTRED},
    "resnetv2_50d_evos": {"ah_in1k": _RSB_CENTRED},
    "resnetv2_50d_frn": {"untrained": _CENTRED},
    "resnetv2_50d_gn": {"ah_in1k": _RSB_CENTRED},
    "resnetv2_50t": {"untrained": _CENTRED},
    "resnetv2_50x1_bit": {"goog_distilled_in1k": _CENTRED, **_BIG_TRANSFER},
    "resnetv2_50x3_bit": _BIG_TRANSFER,
    "resnetv2_101": {"a1h_in1k": _RSB_CENTRED},
    "resnetv2_101d": {"untrained": _CENTRED},
    "resnetv2_101x1_bit": _BIG_TRANSFER,
    "resnetv2_101x3_bit": _BIG_TRANSFER,
    "resnetv2_152": {"untrained": _CENTRED},
    "resnetv2_152d": {"untrained": _CENTRED},
    "resnetv2_152x2_bit": {
        "goog_teacher_in21k_ft_in1k": _CENTRED,
        "goog_teacher_in21k_ft_in1k_384": _BIT_384,
        **_BIG_TRANSFER,
    },
    "resnetv2_152x4_bit": {"goog_in21k_ft_in1k": _BIT_480, "goog_in21k": _BIT},
}
