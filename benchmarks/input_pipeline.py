"""How many photographs a second and core the input pipeline delivers, beside torchvision's.

    python -m benchmarks.input_pipeline --json benchmarks/results/input_pipeline.json

Each pipeline takes its turn in every round, so that a busy machine slows all of them alike; figures
are medians over the rounds, and the ratios those of processor time. Ours and torchvision's each run
in the same number of processes.
Needs PyTorch and torchvision: `make peers`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import simplejpeg

from benchmarks import contest
from resnet_jax.data.images.record import Transform
from resnet_jax.data.images.resize import RandomResizedCrop, ResizeCentreCrop
from resnet_jax.data.loading.pipeline import train_loader
from resnet_jax.data.sources.examples import Source
from resnet_jax.data.sources.files import FileCache, open_folder
from resnet_jax.data.sources.folders import FileSource

SIZE = 224
BATCH = 25
WORK = (
    ("training", "JPEG"),
    ("evaluation", "JPEG"),
    ("training from PNG", "PNG"),
    ("training from WebP", "WEBP"),
)
"""What is measured, and the format of the photographs."""

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


def in_format(paths: list[Path], kind: str, folder: Path) -> list[Path]:
    """Saves photographs in another format, WebP with Pillow's usual quality of 80."""
    from PIL import Image

    saved = []
    for path in paths:
        buffer = io.BytesIO()
        with Image.open(path) as image:
            image.convert("RGB").save(buffer, kind)
        saved.append(folder / f"{path.stem}.{kind.lower()}")
        saved[-1].write_bytes(buffer.getvalue())
    return saved


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


class Turns(NamedTuple):
    """What a pipeline delivers, a figure for each turn.

    Attributes:
        clock: Images a second and process.
        processor: Images a second of processor time, all processes together: what stays of the
            comparison on a machine that is busy with other things. Outside of Linux it is `clock`.
    """

    clock: list[float]
    processor: list[float]


def measure(
    rows: dict[str, tuple[Callable[[], Iterator[Any]], int]], *, rounds: int, batches: int
) -> dict[str, Turns]:
    """Lets the pipelines take turns.

    Args:
        rows: What opens the batches, and the number of processes, of each pipeline.
        rounds: Turns of each.
        batches: Batches of a turn.
    """
    started = {name: start(opened) for name, (opened, _) in rows.items()}
    turns = {name: Turns([], []) for name in rows}
    for _ in range(rounds):
        for name, (_, processes) in rows.items():
            stream, workers = started[name]
            for _ in range(READ_AHEAD if processes else 0):
                next(stream)
            since, before = time.perf_counter(), processor_seconds(workers)
            for _ in range(batches):
                next(stream)
            images = batches * BATCH
            rate = images / (time.perf_counter() - since) / max(processes, 1)
            after = processor_seconds(workers)
            turns[name].clock.append(rate)
            if before is not None and after is not None:
                rate = images / (after - before)
            turns[name].processor.append(rate)
    return turns


def start(opened: Callable[[], Iterator[Any]]) -> tuple[Iterator[Any], list[int]]:
    """Opens batches, and gives the ids of the processes that this starts as well."""
    before = {process.pid for process in multiprocessing.active_children()}
    stream = opened()
    next(stream)
    after = [process.pid for process in multiprocessing.active_children()]
    return stream, [worker for worker in after if worker is not None and worker not in before]


def processor_seconds(workers: list[int]) -> float | None:
    """Gives the processor time of this process and of its workers; None outside of Linux."""
    total = time.process_time()
    for worker in workers:
        try:
            fields = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


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
    paths = sorted(options.photos.iterdir()) if options.photos.is_dir() else []
    if len(paths) < BATCH:
        parser.error(f"--photos={options.photos} is no folder of at least {BATCH} photographs")
    rows: dict[str, tuple[Callable[[], Iterator[Any]], int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for work, kind in WORK:
            files = paths if kind == "JPEG" else in_format(paths, kind, Path(folder))
            rows |= pair(files, work, workers=options.workers)
        rows["bare decoding"] = (lambda: bare_batches(paths, simplejpeg.decode_jpeg), 0)
        report(measure(rows, rounds=options.rounds, batches=options.batches), options.json)


def pair(
    paths: list[Path], work: str, *, workers: int
) -> dict[str, tuple[Callable[[], Iterator[Any]], int]]:
    """Names what opens our batches and torchvision's, for one kind of work."""
    train = not work.startswith("evaluation")
    entries = [(path.name, 0) for path in paths]
    source = FileSource(open_folder(paths[0].parent, cache=FileCache()), entries, ("photo",))
    transform = RandomResizedCrop(SIZE) if train else ResizeCentreCrop(SIZE)
    return {
        f"ours, {work}": (lambda: our_batches(source, transform, workers), workers),
        f"torchvision, {work}": (
            lambda: torchvision_batches(paths, train=train, workers=workers),
            workers,
        ),
    }


def report(turns: dict[str, Turns], path: Path | None) -> None:
    """Prints the table, and writes a row for each pipeline of ours."""
    bare = statistics.median(turns["bare decoding"].processor)
    print(f"{'images a second and core':26}{'clock':>9}{'processor':>11}{'of bare':>9}")
    for name, turn in turns.items():
        clock, processor = (statistics.median(rates) for rates in (turn.clock, turn.processor))
        print(f"{name:26}{clock:9.1f}{processor:11.1f}{processor / bare:9.2f}")
    rows = []
    for work, _ in WORK:
        rates = {who: turns[f"{who}, {work}"].processor for who in ("ours", "torchvision")}
        goal = 1.0 if work == "evaluation" else 1.5
        name = f"photographs for {work}, images a second of processor time"
        rows.append(contest.row(name, rates, limit=bare, goal=goal))
        contest.show(rows[-1])
    if path is not None:
        contest.write(path, rows, {"bare decoding, images/s": bare})


if __name__ == "__main__":
    main()
