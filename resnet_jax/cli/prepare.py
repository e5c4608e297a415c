"""`resnet-jax prepare`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from resnet_jax.cli.command import Command
from resnet_jax.data.source_names import FILE_FORMS


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    forms = ", ".join(FILE_FORMS)
    parser.add_argument(
        "source", metavar="SOURCE", help=f"{forms}, digits, or the name of a TFDS dataset"
    )
    parser.add_argument("--name", help="name of the dataset (folder's or archive's)")
    parser.add_argument(
        "--data-dir", metavar="DIR", help="folder of prepared datasets (user cache)"
    )
    parser.add_argument("--shard", metavar="I/N", help="write only part I of N")
    parser.add_argument("--workers", type=int, metavar="N", default=8, help="threads (8)")
    parser.add_argument("--skip-bad", type=int, metavar="N", help="skip and list up to N bad files")


def run(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Prepares a dataset."""
    del overrides
    from rich.console import Console
    from rich.progress import Progress

    from resnet_jax.data.prepare.prepare import prepare
    from resnet_jax.data.sources.bad_examples import BadExamples

    bad_examples = None
    if flags.skip_bad is not None:
        bad_examples = BadExamples("bad_examples.jsonl", limit=flags.skip_bad, setting="--skip-bad")
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("files", total=None)
        folder = prepare(
            flags.source,
            name=flags.name,
            data_dir=flags.data_dir,
            shard=flags.shard,
            workers=flags.workers,
            bad_examples=bad_examples,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if folder is None:
        print(
            f"part {flags.shard} is written; run the same command without --shard to join the parts"
        )
        return 0
    where = f" --config.data.data_dir={flags.data_dir}" if flags.data_dir else ""
    print(f"{folder} is ready: --config.data.name={folder.parent.name}{where}")
    return 0


COMMAND = Command(
    name="prepare",
    summary="Convert images to a dataset that loads fast.",
    usage="SOURCE [--name=NAME] [flags]",
    epilog="example: resnet-jax prepare folder:photos --name=photos",
    add_flags=add_flags,
    run=run,
)
