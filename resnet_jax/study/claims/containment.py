"""Claim 2: a residual network contains the shallow one.

He et al. 2015, section 1: a deeper model exists whose added layers are identity mappings.
"""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from resnet_jax.data.on_device.augment import normalize
from resnet_jax.models import ResNet, grow
from resnet_jax.models.initialize import initialize
from resnet_jax.study.claims.claim import Claim, Study, table
from resnet_jax.study.figures import colour, figure
from resnet_jax.study.reading import Images
from resnet_jax.training.step.state import Variables, variables_of


class _Outcome(NamedTuple):
    """The predictions of a network on the test images.

    Attributes:
        name: The name of the network.
        right: Images classified correctly.
        same: Images with the same prediction as the trained shallow network.
        difference: Largest absolute difference of a logit from the trained shallow network's.
    """

    name: str
    right: int
    same: int
    difference: float


def study_containment(subject: Study, out: pathlib.Path) -> Claim:
    """Grows the shallow residual network, untrained and trained, and compares image by image.

    Args:
        subject: The trained networks.
        out: Folder of the figure.
    """
    images = subject.images
    start = _difference_at_the_start(subject, images)
    outcomes = _outcomes(subject, images)
    count = len(images.labels)
    _draw(outcomes, count, out / "containment.svg")
    rows = [
        [item.name, f"{item.right} of {count}", f"{item.same} of {count}", f"{item.difference:.3g}"]
        for item in outcomes
    ]
    same = f"same prediction as residual {subject.depths[0]}"
    heading = ["network", "right", same, "largest difference of a logit"]
    return Claim(
        name="containment",
        heading="2. A residual network contains the shallow one (恒等映射)",
        text=_text(subject, start, outcomes, count) + "\n\n" + table(heading, rows),
        figures={
            "containment.svg": "Test error of the trained shallow network, of the same network "
            "grown by blocks whose last scale is zero, and of deep networks trained from scratch."
        },
        numbers={
            "largest_difference_at_the_start": start,
            "images": count,
            "outcomes": [item._asdict() for item in outcomes],
        },
        missing=()
        if _all_kept(subject, outcomes, count)
        else ("A grown network does not predict what the shallow one does.",),
    )


def _outcomes(subject: Study, images: Images) -> list[_Outcome]:
    shallow, *deeper = subject.depths
    base = subject.network("resnet", shallow)
    networks = {f"residual {shallow}, trained": (shallow, base.variables)}
    for depth in deeper:
        grown = variables_of(_grown(base.model, depth))
        networks[f"grown to {depth}, not trained further"] = (depth, grown)
    for depth in deeper:
        scratch = subject.network("resnet", depth).variables
        networks[f"residual {depth}, trained from scratch"] = (depth, scratch)
    reference = _logits(subject, *networks[f"residual {shallow}, trained"], images)
    outcomes = []
    for name, (depth, variables) in networks.items():
        logits = _logits(subject, depth, variables, images)
        same = int((logits.argmax(axis=-1) == reference.argmax(axis=-1)).sum())
        difference = float(np.abs(logits - reference).max())
        outcomes.append(_Outcome(name, images.right(logits), same, difference))
        subject.say(f"{name}: {outcomes[-1].right} of {len(images.labels)} right")
    return outcomes


def _difference_at_the_start(subject: Study, images: Images) -> dict[str, float]:
    """Compares untrained networks: the shallow one, and the same one grown."""
    shallow, *deeper = subject.depths
    config = subject.network("resnet", shallow).model.config
    fresh = initialize(lambda rngs: ResNet(config, rngs=rngs), jax.random.key(subject.plan.seed))
    first = images.batches[0]
    reference = _logits(subject, shallow, variables_of(fresh), first)
    grown = {depth: _grown(fresh, depth) for depth in deeper}
    differences = {}
    for depth, model in grown.items():
        logits = _logits(subject, depth, variables_of(model), first)
        differences[f"{depth} layers, evaluation"] = float(np.abs(logits - reference).max())
    data = subject.plan.recipe.data
    x = normalize(jnp.asarray(first.pixels), data.mean, data.std)
    pair = [_logits_in_training(model, x) for model in (fresh, grown[deeper[0]])]
    differences[f"{deeper[0]} layers, training, not compiled"] = float(
        np.abs(pair[0] - pair[1]).max()
    )
    return differences


def _grown(model: ResNet, layers: int) -> ResNet:
    stages = len(model.config.depths)
    return grow(model, ((layers - 2) // (2 * stages),) * stages, rngs=nnx.Rngs(0))


def _logits(
    subject: Study, depth: int, variables: Variables, images: Images
) -> NDArray[np.float32]:
    reader = subject.readers[f"resnet{depth}"]
    return reader.logits(variables, images)


def _logits_in_training(model: ResNet, x: jax.Array) -> NDArray[np.float32]:
    """Classifies with the batch's own statistics, operation by operation.

    A compiler adds up the statistics in an order that depends on the rest of the program.
    """
    model.train()
    return np.asarray(model(x))


def _text(subject: Study, start: dict[str, float], outcomes: list[_Outcome], count: int) -> str:
    exact = not any(start.values())
    kept = _all_kept(subject, outcomes, count)
    return (
        "New blocks whose last BatchNorm scale is zero add nothing, and what they get is not "
        "negative, so that they pass it on. "
        f"At the start the grown network's logits are "
        f"{'equal bit for bit to' if exact else f'within {max(start.values()):.3g} of'} those of "
        f"the {subject.depths[0]}-layer network, in training and in evaluation "
        f"({', '.join(f'{name}: {value:g}' for name, value in start.items())}). "
        f"The trained {subject.depths[0]}-layer network "
        f"{'keeps' if kept else 'does not keep'} its accuracy to the image when it is grown."
    )


def _all_kept(subject: Study, outcomes: list[_Outcome], count: int) -> bool:
    grown = outcomes[1 : len(subject.depths)]
    return all(item.right == outcomes[0].right and item.same == count for item in grown)


def _draw(outcomes: list[_Outcome], count: int, path: pathlib.Path) -> None:
    errors = [100 * (1 - item.right / count) for item in outcomes]
    with figure(path, panels=2) as (left, right):
        for axes, values, label in (
            (left, errors, f"test error (% of {count} images)"),
            (right, [count - item.same for item in outcomes], "images predicted otherwise"),
        ):
            bars = axes.barh([item.name for item in outcomes], values, color=colour("resnet"))
            axes.bar_label(bars, fmt="%.4g", padding=3)
            axes.set(xlabel=label, xlim=(0, 1.15 * max([*values, 1])))
            axes.invert_yaxis()
        right.set_yticklabels([])
