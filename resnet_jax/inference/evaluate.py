"""Evaluates any trained network on any dataset: the loop of `resnet-jax eval` and of reports."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.config import DataConfig
from resnet_jax.data.loading.batches import Batch
from resnet_jax.data.loading.pipeline import EvalLoader, eval_loader
from resnet_jax.data.sources import load_split
from resnet_jax.errors import ConfigError
from resnet_jax.inference.classifier import Augmentation, Compiled, logits_function
from resnet_jax.inference.inputs import inputs_transform
from resnet_jax.inference.measures import ClassAccuracy, Measures, batch_sums, calibration_error
from resnet_jax.inference.trained import Trained

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
    watch: Watch | None = None,
) -> Measures:
    """Evaluates any trained network on any dataset.

    The network is compiled once and the batch is split over all devices. Every example of the split
    counts once, regardless of the batch size.

    Args:
        trained: The network.
        data: The dataset. Only the fields that say how it is read are used; the images are prepared
            as the network expects them (`trained.inputs`).
        split: A split in TFDS syntax.
        batch_size: Images per step, rounded up to a multiple of the devices.
        tta: `flip` averages the logits of each image and its mirror image.
        workdir: Where `bad_examples.jsonl` is written with `data.on_error="skip"`.
        watch: Called with every batch in order; in a single process only.

    Raises:
        ConfigError: The data cannot be opened, or its classes are not the network's.
    """
    logits_of, state = logits_function(trained, tta=tta)

    def step(state: Any, batch: dict[str, jax.Array]) -> dict[str, Any]:
        logits = logits_of(state, batch["image"])
        result: dict[str, Any] = {"sums": batch_sums(logits, batch["label"], batch["mask"])}
        if watch is not None:
            result |= {"predicted": jnp.argmax(logits, -1), "probabilities": jax.nn.softmax(logits)}
        return result

    streamed = dataclasses.replace(data, channels=trained.inputs.channels, in_memory=False)
    source = load_split(streamed, split, workdir=workdir)
    outputs = output_of_labels(trained, source.class_names, origin=data.name)
    compiled = Compiled(step, state, batch_size=batch_size)
    batches = eval_loader(
        source,
        batch_size=compiled.batch_size,
        processes=jax.process_count(),
        process=jax.process_index(),
        workers=data.workers,
        transform=inputs_transform(trained.inputs),
    )
    total = _total(compiled, batches, outputs, watch)
    if trained.class_names is None and len(source.class_names) == trained.num_classes:
        trained = dataclasses.replace(trained, class_names=source.class_names)
    return _measures(total, trained, data.name, split, expected=len(source), tta=tta)


def output_of_labels(
    trained: Trained, class_names: tuple[str, ...], *, origin: str
) -> NDArray[np.int32]:
    """Finds the network's output for each label of a dataset.

    Labels are matched by class name, in any order, if the network has all of these names; otherwise
    by position, which needs as many labels as outputs.

    Args:
        trained: The network.
        class_names: The names of the labels.
        origin: The dataset, for messages.

    Raises:
        ConfigError: The classes do not match.
    """
    known = {name: index for index, name in enumerate(trained.class_names or ())}
    if all(name in known for name in class_names):
        return np.array([known[name] for name in class_names], np.int32)
    if len(class_names) == trained.num_classes:
        return np.arange(len(class_names), dtype=np.int32)
    odd = next(name for name in class_names if name not in known)
    raise ConfigError(
        f"{origin} has {len(class_names)} classes and {trained.origin} {trained.num_classes}, of "
        f"which none is called {odd!r}; give the names of its outputs with --class-names=FILE"
    )


def _total(
    compiled: Compiled, batches: EvalLoader, outputs: NDArray[np.int32], watch: Watch | None
) -> dict[str, NDArray[Any]]:
    """Adds the sums of all batches on the host in double precision, while the device computes."""
    total: dict[str, Any] = {}

    def finish(batch: Batch, result: Mapping[str, Any]) -> None:
        result = jax.device_get(result)
        for name, value in result["sums"].items():
            wide = np.asarray(value).astype(np.float64 if value.dtype.kind == "f" else np.int64)
            total[name] = total.get(name, 0) + wide
        if watch is not None:
            watch(batch, result["predicted"], result["probabilities"])

    waiting = None
    for batch in batches:
        batch["label"] = outputs[batch["label"]]
        started = compiled(batch)
        if waiting is not None:
            finish(*waiting)
        waiting = (batch, started)
    assert waiting is not None  # a split without examples is rejected when it is opened
    finish(*waiting)
    return total


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
        raise ConfigError(f"{data}: none of the {expected} examples of {split} could be used")
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
