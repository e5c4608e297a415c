"""How many photographs a second and core the input pipeline delivers, beside torchvision's.

    python benchmarks/input_pipeline.py --photos DIR --json input_pipeline.json

Each row takes its turn in every round, so that a busy machine slows all of them alike; the figure
is the median over the rounds. Ours and torchvision's each run in the same number of processes.
Needs PyTorch and torchvision: `make peers`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import simplejpeg

from resnet_jax.data.batches import Transform
from resnet_jax.data.examples import Source
from resnet_jax.data.files import FolderFiles
from resnet_jax.data.folders import FileSource
from resnet_jax.data.pipeline import train_loader
from resnet_jax.data.transforms import RandomResizedCrop, ResizeCentreCrop

SIZE = 224
BATCH = 25
READ_AHEAD = 8
"""Batches that are taken before the clock starts: more than any pipeline holds ready."""


class TorchvisionPhotos:
    """A dataset for PyTorch's DataLoader: Pillow and a torchvision transform.

    Args:
        paths: The photographs.
        train: Random resized crop and flip; otherwise resize and centre crop.
    """

    def __init__(self, paths: list[Path], *, train: bool) -> None:
        self._paths = paths
        self._train = train
        self._transform: Any = None

    def __len__(self) -> int:
        return 10**9  # the loader is never exhausted

    def __getitem__(self, index: int) -> Any:
        from PIL import Image

        if self._transform is None:
            self._transform = torchvision_transform(train=self._train)
        with Image.open(self._paths[index % len(self._paths)]) as image:
            return self._transform(image.convert("RGB"))


def torchvision_transform(*, train: bool) -> Any:
    """Makes torchvision's usual transform for ImageNet, up to uint8 pixels."""
    declare_operators()
    from torchvision import transforms

    if train:
        chain = [transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip()]
    else:
        chain = [transforms.Resize(int(SIZE / 0.875)), transforms.CenterCrop(SIZE)]
    return transforms.Compose([*chain, transforms.PILToTensor()])


def declare_operators() -> None:
    """Lets torchvision's Python code load where its compiled half belongs to another PyTorch."""
    import torch

    with contextlib.suppress(RuntimeError):  # they are declared already
        for operator in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{operator}",
                "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            )


def our_batches(source: Source, transform: Transform, workers: int) -> Iterator[Any]:
    """Batches of our pipeline, without end."""
    return train_loader(source, batch_size=BATCH, seed=0, workers=workers, transform=transform)


def torchvision_batches(paths: list[Path], *, train: bool, workers: int) -> Iterator[Any]:
    """Batches of PyTorch's DataLoader, without end."""
    from torch.utils.data import DataLoader

    dataset: Any = TorchvisionPhotos(paths, train=train)
    loader = DataLoader(
        dataset, batch_size=BATCH, num_workers=workers, multiprocessing_context="spawn"
    )
    return iter(loader)


def bare_batches(paths: list[Path], decode: Callable[[bytes], Any]) -> Iterator[list[Any]]:
    """Decoded files of one process, without end."""
    contents = itertools.cycle([path.read_bytes() for path in paths])
    while True:
        yield [decode(content) for content in itertools.islice(contents, BATCH)]


def measure(
    rows: dict[str, tuple[Iterator[Any], int]], *, rounds: int, batches: int
) -> dict[str, float]:
    """Lets the rows take turns.

    Args:
        rows: Batches and number of processes of each row.
        rounds: Turns of each row.
        batches: Batches of a turn.

    Returns:
        Images a second and process of each row, the median over the rounds.
    """
    rates: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, (stream, processes) in rows.items():
            for _ in range(READ_AHEAD if processes else 0):
                next(stream)
            start = time.perf_counter()
            for _ in range(batches):
                next(stream)
            seconds = time.perf_counter() - start
            rates[name].append(batches * BATCH / seconds / max(processes, 1))
    return {name: statistics.median(values) for name, values in rates.items()}


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("RESNET_JAX_SHARED", "../shared")) / "data" / "photos"
    parser.add_argument("--photos", type=Path, default=default, help="folder of JPEG files")
    parser.add_argument("--workers", type=int, default=1, help="processes of each pipeline")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=16, help=f"of {BATCH} images, a turn")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    paths = sorted(options.photos.iterdir())
    source = FileSource(FolderFiles(options.photos), [(path.name, 0) for path in paths], ("photo",))
    workers = options.workers
    rows = {
        "ours, training": (our_batches(source, RandomResizedCrop(SIZE), workers), workers),
        "torchvision, training": (
            torchvision_batches(paths, train=True, workers=workers),
            workers,
        ),
        "ours, evaluation": (our_batches(source, ResizeCentreCrop(SIZE), workers), workers),
        "torchvision, evaluation": (
            torchvision_batches(paths, train=False, workers=workers),
            workers,
        ),
        "bare decoding": (bare_batches(paths, simplejpeg.decode_jpeg), 0),
    }
    rates = measure(rows, rounds=options.rounds, batches=options.batches)
    report(rates, workers, options.json)


def report(rates: dict[str, float], workers: int, path: Path | None) -> None:
    """Prints the table and writes it as JSON."""
    table = []
    for name, rate in rates.items():
        kind = name.rpartition(", ")[2]
        peer = rates.get(f"torchvision, {kind}")
        row = {
            "pipeline": name,
            "images_per_second_and_core": round(rate, 1),
            "of_torchvision": round(rate / peer, 2) if peer else None,
            "of_bare_decoding": round(rate / rates["bare decoding"], 2),
        }
        table.append(row)
        times = f"{row['of_torchvision']} x torchvision" if peer else ""
        print(f"{name:26}{rate:8.1f} images/s   {row['of_bare_decoding']:.2f} x bare   {times}")
    if path is not None:
        versions = {
            package: importlib.metadata.version(package)
            for package in ("simplejpeg", "opencv-python-headless", "pillow", "torchvision")
        }
        machine = {"cores": os.cpu_count(), "processor": platform.processor() or platform.machine()}
        content = {"workers": workers, "machine": machine, "versions": versions, "rows": table}
        path.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
