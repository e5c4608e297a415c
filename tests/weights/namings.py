"""Networks, and the names of their weights elsewhere."""

import numpy as np
from flax import nnx

SE = {"stem": "deep", "shortcut": "d", "attention": "se", "squeeze_ratio": 0.25}
NETWORKS = {
    "bottleneck": {},
    "basic": {"block": "basic"},
    "conv_pool_and_se": {**SE, "stem_pool": "conv"},
    "eca": {"attention": "eca", "stem": "tiered"},
    "preactivation": {"block": "preactivation_bottleneck"},
    "preactivation_deep": {"block": "preactivation_basic", "stem": "deep", "shortcut": "d"},
    "cifar": {"block": "basic", "stem": "cifar", "shortcut": "a"},
    "plain": {"block": "plain"},
}


def values(module):
    return nnx.to_pure_dict(nnx.state(module))


def transformers_names(state_dict):
    """Renames timm's keys to those of transformers, by rules of the test's own."""
    renamed = {}
    for key, value in state_dict.items():
        parts = key.split(".")
        if parts[0] == "fc":
            renamed[f"classifier.1.{parts[-1]}"] = value
            continue
        kind = {"conv": "convolution", "bn": "normalization", "0": "convolution"}
        if not parts[0].startswith("layer"):
            place = f"resnet.embedder.embedder.{kind[parts[0][:-1]]}"
        else:
            place = f"resnet.encoder.stages.{int(parts[0][5:]) - 1}.layers.{parts[1]}."
            if parts[2] == "downsample":
                place += f"shortcut.{('convolution', 'normalization')[int(parts[3])]}"
            else:
                place += f"layer.{int(parts[2][-1]) - 1}.{kind[parts[2][:-1]]}"
        renamed[f"{place}.{parts[-1]}"] = value
    return renamed


def rename(weights, parts):
    """Replaces parts of keys."""
    for old, new in parts.items():
        weights = {key.replace(old, new): value for key, value in weights.items()}
    return weights


def akamaster_names(weights):
    return rename(weights, {"fc.": "linear.", "downsample": "shortcut"})


def two_layers_for_a_head(weights):
    """A classifier that was replaced by an `nn.Sequential`."""
    return {**rename(weights, {"linear.": "linear.0."}), "linear.2.weight": np.zeros((2, 5))}
