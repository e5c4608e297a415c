"""Fixtures and settings shared by every test."""

import importlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

pytest_plugins = ["tests.buckets", "tests.peers"]

# The folder keeps what was compiled for the next test, process and run. It has no limit that jax
# knows of: with one, jax takes a lock and looks at every entry before it writes another, which took
# longer than all compilation. Without the lock, a process can read an entry that another one has
# half written; jax then says so (a warning, ignored in pyproject.toml) and compiles.
CACHE = ROOT / ".pytest_cache" / "jax"
CACHE_BYTES = 2**29

# jax reads these when it is first imported, and the processes that tests start inherit them.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(CACHE),
    "JAX_COMPILATION_CACHE_MAX_SIZE": "-1",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)

# The libraries of the Hugging Face hub read these when they are first imported: no test sees the
# user's cache or the network.
HUB = tempfile.TemporaryDirectory(prefix="resnet_jax_hub_")
os.environ |= {"HF_HOME": HUB.name, "HF_HUB_OFFLINE": "1"}
for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
    os.environ.pop(name, None)

import jax  # noqa: E402  (reads the environment)

# Most tests compile for longer than they compute. The processes that tests start train for longer,
# and are what users start: they inherit nothing of this (test_devices.py has its own flags).
jax.config.update("jax_disable_most_optimizations", True)


def compile_in_less_time() -> None:
    """Leaves out the emitter that sets up a compiler for each fusion, 15 ms for the smallest.

    With optimizations it stays: the other one then takes minutes for large fusions. What JAX has
    for this belongs to a function that is compiled; here it is for all. The place is private, and
    a release without it only takes longer. From jaxlib 0.11.1 on, XLA refuses the option.
    """
    if jax.__version_info__ >= (0, 11, 1):
        return
    try:
        compiler = importlib.import_module("jax._src.compiler")
        usual = compiler.get_compile_options
    except (ImportError, AttributeError):
        return

    def get_compile_options(*arguments: Any, **named: Any) -> Any:
        options = usual(*arguments, **named)
        if jax.config.read("jax_disable_most_optimizations"):
            options.env_option_overrides += [("xla_cpu_use_fusion_emitters", False)]
        return options

    compiler.get_compile_options = get_compile_options


compile_in_less_time()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Empties the folder of compiled code when it has grown too large."""
    is_worker = hasattr(session.config, "workerinput")
    if not is_worker and sum(entry.stat().st_size for entry in CACHE.glob("*")) > CACHE_BYTES:
        shutil.rmtree(CACHE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts those first that may take long, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_code() -> Iterator[None]:
    """Keeps a process that runs many modules from holding the compiled code of them all."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="module")
def optimized() -> Iterator[None]:
    """Compiles as users do, where tests compute for long or look at what was compiled."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real photographs, datasets and published weights that lies outside the project.

    `RESNET_JAX_SHARED` names it; without that it is the folder `shared` beside the project.
    """
    folder = pathlib.Path(os.environ.get("RESNET_JAX_SHARED") or ROOT.parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"{folder} is no folder; set RESNET_JAX_SHARED to the folder of shared data")
    return folder
