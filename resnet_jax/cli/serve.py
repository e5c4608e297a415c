"""`resnet-jax serve`."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence

from resnet_jax.cli.command import Command
from resnet_jax.cli.hints import INPUTS
from resnet_jax.cli.model_flags import INPUTS_NOTE, add_model_flags, open_from_flags
from resnet_jax.errors import ConfigError
from resnet_jax.serving.limits import Limits

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
_EXTRA = ("fastapi", "pebble", "prometheus_client", "python_multipart", "uvicorn")
_MEBI = 2**20
_MEGA = 1_000_000


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags; those that few need are not in the help, which has to fit a screen."""
    usual = Limits()
    add_model_flags(parser, positional=True)

    def add(flag: str, kind: type, unit: str, value: object, text: str) -> None:
        parser.add_argument(flag, type=kind, metavar=unit, default=value, help=f"{text} ({value})")

    add("--host", str, "HOST", DEFAULT_HOST, "address to listen on")
    add("--port", int, "PORT", DEFAULT_PORT, "port; 0 takes a free one")
    add("--batch-size", int, "N", usual.batch_size, "most images computed together")
    add("--wait-ms", float, "MS", 1000 * usual.wait_seconds, "longest wait for a batch to fill")
    add("--queue", int, "N", usual.queue, "most requests at a time")
    add("--max-mib", float, "MIB", usual.body_bytes / _MEBI, "largest body of a request")
    add("--max-megapixels", float, "N", usual.image_pixels / _MEGA, "largest image")
    add("--timeout", float, "SECONDS", usual.request_seconds, "time limit of a request")
    for flag, kind, value in (
        ("--decoders", int, usual.decoders),
        ("--decode-timeout", float, usual.decode_seconds),
        ("--connections", int, usual.connections),
        ("--connections-per-address", int, usual.connections_per_address),
        ("--head-timeout", float, usual.head_seconds),
    ):
        parser.add_argument(flag, type=kind, default=value, help=argparse.SUPPRESS)
    for flag in ("--allowed-host", "--allowed-origin"):
        parser.add_argument(flag, default=[], action="append", help=argparse.SUPPRESS)


def run(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Serves a network until a signal ends it."""
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"serve needs {', '.join(missing)}: install them with pip install 'resnet-jax[serve]'"
        )
    from resnet_jax.serving.server import serve

    limits = Limits(
        body_bytes=_whole(flags.max_mib, _MEBI, "--max-mib"),
        image_pixels=_whole(flags.max_megapixels, _MEGA, "--max-megapixels"),
        queue=flags.queue,
        batch_size=flags.batch_size,
        wait_seconds=flags.wait_ms / 1000,
        request_seconds=flags.timeout,
        decoders=flags.decoders,
        decode_seconds=flags.decode_timeout,
        connections=flags.connections,
        connections_per_address=flags.connections_per_address,
        head_seconds=flags.head_timeout,
        hosts=tuple(flags.allowed_host),
        origins=tuple(origin.lower().rstrip("/") for origin in flags.allowed_origin),
    )
    serve(
        lambda: open_from_flags(flags, overrides),
        host=flags.host,
        port=flags.port,
        limits=limits,
        tell=lambda line: print(f"{line}  (Ctrl-C to stop)", flush=True),
    )
    return 0


def _whole(value: float, unit: int, flag: str) -> int:
    if not 0 < value * unit < 2**40:
        raise ConfigError(f"{flag}={value:g}: give a number above 0 and below {2**40 // unit}")
    return max(1, int(value * unit))


COMMAND = Command(
    name="serve",
    summary="Serve a network over HTTP, with a page to drop images on.",
    usage="MODEL [--port=PORT] [flags]",
    epilog=INPUTS_NOTE
    + "Flags for hosts, origins, connections and decoding are in docs/serving.md.\n"
    + "example: resnet-jax serve runs/digits --port=8000",
    add_flags=add_flags,
    run=run,
    overrides=(INPUTS,),
)
