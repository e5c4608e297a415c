"""TFDS dataset `digits`: the UCI handwritten digits, 8x8 greyscale, ten classes."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
import time
from pathlib import Path

from resnet_jax.errors import ConfigError
from resnet_jax.local_paths import local_path, user_cache

_STALE_SECONDS = 3600.0
_INFO = "dataset_info.json"


def default_data_dir() -> Path:
    """The folder in the user's cache in which `digits` is prepared."""
    return user_cache() / "tfds"


def prepare_digits(data_dir: str | Path) -> Path:
    """Prepares `digits` in `data_dir` unless it is there already.

    It is built in a folder of its own and renamed into place in one step, so that processes which
    prepare it at once, or are killed while they do, leave a whole one or none.

    Args:
        data_dir: Folder of prepared datasets; created where it is missing.

    Returns:
        The folder of the prepared version.
    """
    root = local_path(data_dir)
    target = root / "digits" / "1.0.0"
    if (target / _INFO).is_file():
        return target
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_stale(root)
        scratch = Path(tempfile.mkdtemp(prefix=".preparing-digits-", dir=root))
    except OSError as error:
        raise ConfigError(
            f"data.data_dir={str(root)!r} cannot be written ({error.strerror}); set data.data_dir "
            "to a folder that can"
        ) from error
    try:
        _build_digits(scratch)
        target.parent.mkdir(exist_ok=True)
        try:
            (scratch / "digits" / "1.0.0").rename(target)
        except OSError:
            if not (target / _INFO).is_file():  # else another process was first
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _build_digits(data_dir: Path) -> None:
    import tensorflow_datasets as tfds

    from resnet_jax.data.sources.digits.digits_dataset_builder import Builder

    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            Builder(data_dir=data_dir).download_and_prepare(file_format="array_record")
    finally:
        tfds.enable_progress_bar()


def _remove_stale(root: Path) -> None:
    for folder in root.glob(".preparing-*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
