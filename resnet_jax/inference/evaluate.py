"""Evaluates any trained network on any dataset: the loop of `resnet-jax eval` and of reports."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.config import DataConfig
from resnet_jax.data.images.transforms import eval_transform
from resnet_jax.data.labels import match_labels
from resnet_jax.data.loading.batches import Batch
from resnet_jax.data.loading.pipeline import eval_loader
from resnet_jax.data.sources import Source, load_split
from resnet_jax.errors import ConfigError, counted
from resnet_jax.inference.classifier import Augmentation, Compiled, Logits, logits_function
from resnet_jax.inference.imagenet import imagenet_ids, imagenet_names
from resnet_jax.inference.measures import (
    ClassAccuracy,
    Measures,
    MultiLabelMeasures,
    batch_sums,
    calibration_error,
)
from resnet_jax.inference.trained import Trained
from resnet_jax.training.evaluation import sum_batches
from resnet_jax.training.step.metrics import MetricSums
from resnet_jax.training.step.multi_label import Scores, multi_label_sums

Step = Callable[[Any, dict[str, jax.Array]], tuple[MetricSums, Any]]

_logger = logging.getLogger(__name__)

Watch = Callable[[Batch, NDArray[np.int32], NDArray[np.float32]], None]
"""Receives each batch with the predicted classes [batch] and the probabilities [batch, classes].

The labels of the batch are outputs of the network.
"""


def evaluate_trained(
    trained: Trained,
    data: DataConfig,
    split: str,
    *,
    batch_size: int = 256,
    tta: Augmentation | None = None,
    workdir: str | pathlib.Path = ".",
    by_position: bool = False,
    watch: Watch | None = None,
) -> Measures | MultiLabelMeasures:
    """Evaluates any trained network on any dataset.

    The network is compiled once and the batch is split over all devices. Every example of the split
    counts once, regardless of the batch size. The logger `resnet_jax` says, at level INFO, how the
    data were read and what was left out.

    Args:
        trained: The network.
        data: The dataset. Only the fields that say how it is read are used; the images are prepared
            as the network expects them (`trained.inputs`).
        split: A split in TFDS syntax.
        batch_size: Images per step, rounded up to a multiple of the devices.
        tta: `flip` averages the logits of each image and its mirror image.
        workdir: Where `bad_examples.jsonl` is written with `data.on_error="skip"`.
        by_position: Whether label 0 is output 0, and so on; otherwise they are matched by name.
        watch: Called with every batch in order; in a single process only. It is not called if an
            image may have several classes.

    Raises:
        ConfigError: The data cannot be opened, or its classes are not the network's.
    """
    source = _open(trained, data, split, workdir=workdir)
    outputs = output_of_labels(
        trained, source.class_names, origin=data.name, by_position=by_position
    )
    several, scores = source.is_multi_label, Scores()
    logits_of, state = logits_function(trained, tta=tta)
    step = _step_of_several(logits_of, outputs) if several else _step_of_one(logits_of, watch)
    compiled = Compiled(step, state, batch_size=batch_size)
    batches = eval_loader(
        source,
        batch_size=compiled.batch_size,
        processes=jax.process_count(),
        process=jax.process_index(),
        workers=data.workers,
        transform=eval_transform(trained.inputs, max_pixels=data.max_pixels),
    )

    def start(batch: Batch) -> tuple[MetricSums, Any]:
        if not several:
            batch["label"] = outputs[batch["label"]]
        return cast(tuple[MetricSums, Any], compiled(batch))

    def see(batch: Batch, seen: Any) -> None:
        if several:
            scores.add(seen)
        elif watch is not None:
            watch(batch, *seen)

    total = sum_batches(batches, start, watch=see)
    if trained.class_names is None and len(source.class_names) == trained.num_classes:
        trained = dataclasses.replace(trained, inputs=trained.inputs.named(source.class_names))
    if several:
        return MultiLabelMeasures(
            **vars(scores.result(total, expected=len(source))),
            model=trained.origin,
            data=data.name,
            split=split,
            class_names=tuple(map(trained.class_name, outputs.tolist())),
            step=trained.step,
            tta=tta,
        )
    return _measures(total, trained, data.name, split, expected=len(source), tta=tta)


def _open(trained: Trained, data: DataConfig, split: str, *, workdir: str | pathlib.Path) -> Source:
    """Opens a split as the network needs it, and says what was inferred."""
    streamed = dataclasses.replace(data, channels=trained.inputs.channels, in_memory=False)
    source = load_split(streamed, split, workdir=workdir)
    for note in source.notes:
        _logger.info(note)
    _check_same_kind(trained, source, origin=data.name)
    return source


def _step_of_one(logits_of: Logits, watch: Watch | None) -> Step:
    """Makes the step for images of one class: sums, and what `watch` is to see."""

    def step(state: Any, batch: dict[str, jax.Array]) -> tuple[MetricSums, Any]:
        logits = logits_of(state, batch["image"])
        sums = batch_sums(logits, batch["label"], batch["mask"])
        seen = (jnp.argmax(logits, -1), jax.nn.softmax(logits)) if watch is not None else None
        return sums, seen

    return step


def _step_of_several(logits_of: Logits, outputs: NDArray[np.int32]) -> Step:
    """Makes the step for images of several classes: sums, and the scores of the dataset's classes.

    Of a class that the dataset does not have, nobody knows which images show it.
    """

    def step(state: Any, batch: dict[str, jax.Array]) -> tuple[MetricSums, Any]:
        logits = logits_of(state, batch["image"])[:, outputs]
        labels, mask = batch["label"], batch["mask"]
        seen = {"logits": logits, "labels": labels, "mask": mask}
        return multi_label_sums(logits, labels, mask), seen

    return step


def _check_same_kind(trained: Trained, source: Source, *, origin: str) -> None:
    """Refuses a dataset of one class an image for a network of several, and the other way round."""
    if source.is_multi_label == trained.inputs.multi_label:
        return
    kinds = ("one class an image", "several classes an image")
    raise ConfigError(
        f"{origin} has {kinds[source.is_multi_label]} and {trained.origin} gives "
        f"{kinds[trained.inputs.multi_label]}; evaluate it on data of its kind, or say with "
        f"--inputs.multi_label={str(source.is_multi_label).lower()} what its outputs mean"
    )


def output_of_labels(
    trained: Trained,
    class_names: tuple[str, ...],
    *,
    origin: str,
    by_position: bool = False,
) -> NDArray[np.int32]:
    """Finds the network's output for each label of a dataset.

    Labels are matched by class name (`match_labels`), and with a network for ImageNet also by
    WordNet ID. Only if the network's class names are not known are they matched by position.

    Args:
        trained: The network.
        class_names: The names of the labels.
        origin: The dataset, for messages.
        by_position: Whether label 0 is output 0, and so on, whatever the names.

    Raises:
        ConfigError: The classes do not match.
    """
    outputs = trained.class_names
    if by_position or outputs is None:
        if len(class_names) == trained.num_classes:
            return np.arange(len(class_names), dtype=np.int32)
        raise ConfigError(
            f"{origin} has {counted(len(class_names), 'class')} and "
            f"{trained.origin} {counted(trained.num_classes, 'output')}, which cannot be matched "
            "by position; give the names of the outputs with --class-names=FILE"
        )
    if outputs == imagenet_names() and all(name in set(imagenet_ids()) for name in class_names):
        outputs = imagenet_ids()
    try:
        return match_labels(class_names, outputs, dataset=origin, network=trained.origin)
    except ConfigError as error:
        same = len(class_names) == len(outputs)
        remedy = "; --by-position matches them in their order" if same else ""
        raise ConfigError(f"{error}; --class-names=FILE renames the outputs{remedy}") from None


def _measures(
    total: Mapping[str, NDArray[Any]],
    trained: Trained,
    data: str,
    split: str,
    *,
    expected: int,
    tta: str | None,
) -> Measures:
    count = int(total["count"])
    if not count:
        raise ConfigError(
            f"{data}: none of {counted(expected, 'example')} of {split} could be used"
        )
    return Measures(
        model=trained.origin,
        data=data,
        split=split,
        count=count,
        expected=expected,
        top1=int(total["top1"]),
        top5=int(total["top5"]),
        loss=float(total["loss"]) / count,
        calibration_error=calibration_error(total),
        classes=tuple(
            ClassAccuracy(trained.class_name(index), int(seen), int(right))
            for index, (seen, right) in enumerate(
                zip(total["class_count"], total["class_top1"], strict=True)
            )
        ),
        step=trained.step,
        tta=tta,
    )
