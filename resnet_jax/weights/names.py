"""Maps the path of a parameter in this library to its key in a PyTorch state dict.

Rules rewrite dotted paths. They work for whole networks and for single blocks, because the rules
for the inside of a block do not depend on the place of the block.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from resnet_jax.models.stem import STEM_POOLS, STEMS

Path = tuple[str | int, ...]
Rule = tuple[str, str | Callable[[re.Match[str]], str]]

# What the paths call a projection after a pool: PyTorch counts the pool among its layers.
POOLED = "pooled_shortcut"

_LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
_COUNTER = "num_batches_tracked"
_COUNTERS = (_COUNTER, "n_averaged")
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "backbone.")
_MOST_WRAPPERS = 8  # around each other


class Dialect(NamedTuple):
    """One naming of the parameters.

    Attributes:
        name: For messages.
        rules: Patterns and replacements, applied in order to the path `stages.0.1.norm1.weight`.
        head: What the classifier's keys start with.
        pointwise: Pattern of the keys whose matrices PyTorch stores as 1x1 convolutions.
    """

    name: str
    rules: tuple[Rule, ...]
    head: str
    pointwise: str = r"(^|\.)se\.fc\d\.weight$"


def _stage(match: re.Match[str]) -> str:
    return f"layer{int(match[1]) + 1}.{match[2]}."


def _layer(match: re.Match[str]) -> str:
    kind = {"conv": "convolution", "norm": "normalization"}[match[1]]
    return f"layer.{int(match[2]) - 1}.{kind}."


def _transformers(name: str, prefix: str) -> Dialect:
    rules: tuple[Rule, ...] = (
        (r"^stem\.conv\.", f"{prefix}embedder.embedder.convolution."),
        (r"^stem\.norm\.", f"{prefix}embedder.embedder.normalization."),
        (r"\bshortcut\.conv\.", "shortcut.convolution."),
        (r"\bshortcut\.norm\.", "shortcut.normalization."),
        (r"\b(conv|norm)(\d)\.", _layer),
        (r"^stages\.(\d+)\.(\d+)\.", rf"{prefix}encoder.stages.\1.layers.\2."),
        (r"^head\.", "classifier.1."),
    )
    return Dialect(name, rules, head="classifier.")


def _stem_rules() -> Iterator[Rule]:
    """Yields a rule for each layer in the tables of stems and of their pools."""
    names = {("", *pair) for stem in STEMS.values() for pair in stem.torch_names}
    names |= {(r"pool\.", *pair) for pool in STEM_POOLS.values() for pair in pool.torch_names}
    for inside, ours, theirs in sorted(names):
        yield rf"^stem\.{inside}{ours}\.", f"{theirs}."


_ATTENTION: Rule = (r"\battention\.(fc1|fc2|conv)\.", r"se.\1.")
_SHARED: tuple[Rule, ...] = (
    *_stem_rules(),
    (r"\bnorm(\d)\.", r"bn\1."),
    (r"^stages\.(\d+)\.(\d+)\.", _stage),
    _ATTENTION,
)

RESNET = Dialect(
    "timm and torchvision",
    (
        *_SHARED,
        (rf"\b{POOLED}\.conv\.", "downsample.1."),
        (rf"\b{POOLED}\.norm\.", "downsample.2."),
        (r"\bshortcut\.conv\.", "downsample.0."),
        (r"\bshortcut\.norm\.", "downsample.1."),
        # The shortcut of ResidualBlock is a bare convolution, the third of the block.
        (r"\bshortcut\.(weight|bias)$", r"conv3.\1"),
        (r"^head\.", "fc."),
    ),
    head="fc.",
)
RESNETV2 = Dialect(
    "timm's resnetv2",
    (
        (r"^stages\.(\d+)\.(\d+)\.", r"stages.\1.blocks.\2."),
        (rf"\b({POOLED}|shortcut)\.(conv|norm)\.", r"downsample.\2."),
        (r"\bshortcut\.(weight|bias)$", r"downsample.conv.\1"),
        (r"^head\.", "head.fc."),
        _ATTENTION,
    ),
    head="head.",
    pointwise=r"^head\.fc\.weight$|(^|\.)se\.fc\d\.weight$",
)
AKAMASTER = Dialect(
    "akamaster",
    (
        *_SHARED,
        (r"\bshortcut\.conv\.", "shortcut.0."),
        (r"\bshortcut\.norm\.", "shortcut.1."),
        (r"^head\.", "linear."),
    ),
    head="linear.",
)
DIALECTS = (
    RESNET,
    RESNETV2,
    AKAMASTER,
    _transformers("transformers", "resnet."),
    _transformers("transformers, without a classifier", ""),
)


# No layer outside a classifier has a key that starts like this.
_HEADS = tuple({dialect.head for dialect in DIALECTS})


def torch_key(path: Path, dialect: Dialect) -> str:
    """Returns the PyTorch key of a parameter or statistic."""
    *parents, leaf = (str(part) for part in path)
    key = ".".join([*parents, _LEAVES.get(leaf, leaf)])
    for pattern, replacement in dialect.rules:
        key = re.sub(pattern, replacement, key)
    return key


def is_head(path: Path) -> bool:
    """Whether a path is in the classifier."""
    return path[0] == "head"


def is_head_key(key: str) -> bool:
    """Whether a PyTorch key is in the classifier, whatever the naming of the other layers."""
    return key.startswith(_HEADS)


def is_input_kernel(path: Path) -> bool:
    """Whether a path is the kernel that sees the images."""
    return path in {("stem", stem.torch_names[0][0], "kernel") for stem in STEMS.values()}


def is_pointwise(key: str, dialect: Dialect) -> bool:
    """Whether PyTorch stores the matrix of this key as a 1x1 convolution."""
    return re.search(dialect.pointwise, key) is not None


def is_counter(key: str) -> bool:
    """Whether a PyTorch key is a counter of training steps, which nothing here reads."""
    return key.rpartition(".")[2] in _COUNTERS


def counter_key(key: str) -> str:
    """Returns the key of the counter that belongs to a running mean."""
    return f"{key.rpartition('.')[0]}.{_COUNTER}".removeprefix(".")


def unwrapped_keys(keys: Iterable[str]) -> dict[str, str]:
    """Drops the prefixes that wrappers such as DataParallel add to every key.

    Returns:
        The key without prefixes -> the key in the source.
    """
    inner = {key: key for key in keys}
    for _ in range(_MOST_WRAPPERS if inner else 0):
        common = [prefix for prefix in _WRAPPERS if all(key.startswith(prefix) for key in inner)]
        if not common:
            break
        inner = {key.removeprefix(common[0]): source for key, source in inner.items()}
    return inner
