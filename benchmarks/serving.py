"""How a service answers honest clients, in peace and next to hostile ones.

    python -m benchmarks.serving --json benchmarks/counts/serving.json

`resnet-jax serve` runs in a process that may open 1,024 files. For half of the time, `--clients`
clients each send one image after another; then, for as long, `--attackers` of them run each attack
of `ATTACKS` in place of that. A client that gets anything but predictions counts as lost. At last
the service is told to stop while everyone goes on. Memory is the largest sum over the processes of
the service, where pages that they share count once.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import io
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import numpy as np
import psutil
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
OPEN_FILES = 1024
STALLED = 550  # connections of one attacker: two of them have more than the service may open
HEAD = "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n"


@dataclasses.dataclass
class Answers:
    """What clients of one kind got.

    Attributes:
        seconds: How long each answer with status 200 took.
        others: Everything else, by status or by the name of the error.
        until: When the clients stop.
    """

    until: float
    seconds: list[float] = dataclasses.field(default_factory=list)
    others: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def summary(self) -> dict[str, Any]:
        """Gives counts and quantiles."""
        row: dict[str, Any] = {"answered": len(self.seconds), "others": dict(self.others)}
        if self.seconds:
            for name, share in (("median", 0.5), ("p99", 0.99), ("longest", 1.0)):
                row[f"{name}_ms"] = round(1000 * float(np.quantile(self.seconds, share)), 1)
        return row


async def send_repeatedly(port: int, bodies: Sequence[bytes], answers: Answers) -> None:
    """Sends one body after another over one connection, and opens another where it is closed."""
    number, used = 0, 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < answers.until:
        body, begun = bodies[number % len(bodies)], time.perf_counter()
        try:
            if writer.is_closing():
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                used = 0
            writer.write(HEAD.format(len(body)).encode() + body)
            await writer.drain()
            status = await _read_answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError) as error:
            writer.close()
            await asyncio.sleep(0.01)
            if used:  # a server may close a connection that it has answered on; clients try again
                used = 0
                continue
            status = type(error).__name__
        used += 1
        number += 1
        if status == "200":
            answers.seconds.append(time.perf_counter() - begun)
        else:
            answers.others[status] += 1
    writer.close()


async def _read_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = head.partition("content-length: ")[2].split("\r\n")[0]
    await reader.readexactly(int(length))
    if "connection: close" in head:
        writer.close()
    return head.split()[1]


async def stall(port: int, answers: Answers) -> None:
    """Holds connections open with half a head, and sends a byte of it every five seconds."""
    writers: list[asyncio.StreamWriter] = []
    closing: list[asyncio.Future[None]] = []
    while time.perf_counter() < answers.until:
        writers = [writer for writer in writers if not writer.is_closing()]
        with contextlib.suppress(OSError):
            while len(writers) < STALLED and time.perf_counter() < answers.until:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                closing.append(asyncio.ensure_future(_close_at_end(reader, writer)))
                writer.write(b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nx")
                writers.append(writer)
        for writer in writers:
            writer.write(b"a")
        await asyncio.sleep(5)
    for writer in writers:
        writer.close()


async def _close_at_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await reader.read()
    writer.close()


async def never_read(port: int, answers: Answers) -> None:
    """Asks for files without end and reads none."""
    while time.perf_counter() < answers.until:
        with contextlib.suppress(OSError, TimeoutError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + 60):
                while time.perf_counter() < answers.until:
                    writer.write(b"GET /page.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 100)
                    await writer.drain()
        writer.close()


def photos(count: int) -> list[bytes]:
    """Makes JPEGs of 500 x 375 pixels."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(count):
        small = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        large = np.asarray(Image.fromarray(small).resize((500, 375), Image.Resampling.BICUBIC))
        noisy = (large + rng.normal(0, 8, large.shape)).clip(0, 255).astype(np.uint8)
        files.append(_encode(Image.fromarray(noisy), "JPEG", quality=90))
    return files


def _encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def many_scans() -> bytes:
    """Makes a progressive JPEG of 40 million pixels with 10,000 scans, 700 KB."""
    image = _encode(Image.new("L", (6300, 6300)), "JPEG", progressive=True)
    start, end = image.rindex(b"\xff\xda"), image.rindex(b"\xff\xd9")
    scan = image[start : start + 10] + b"\0"  # what is missing of it counts as zeros
    return image[:end] + scan * 10_000 + image[end:]


def many_rows() -> bytes:
    """Makes a TIFF that claims 262,264 rows, each a strip."""
    rows = 262_264
    fields = [(256, 4, 1, 10), (257, 4, 1, rows), (273, 4, rows, 8), (278, 4, 1, 1)]
    packed = b"".join(struct.pack("<HHII", *field) for field in fields)
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + packed + bytes(4 + 4 * rows)


def repeated(body: Callable[[], bytes]) -> Callable[[int, Answers], Awaitable[None]]:
    """Makes an attack of a body that is sent again and again."""

    async def attack(port: int, answers: Answers) -> None:
        await send_repeatedly(port, [content], answers)

    content = body()
    return attack


def attacks() -> dict[str, Callable[[int, Answers], Awaitable[None]]]:
    """Gives the attacks by name."""
    return {
        "scans": repeated(many_scans),
        "fill bytes": repeated(lambda: b"\xff\xd8" + b"\xff" * 8_000_000),
        "rows": repeated(many_rows),
        "large": repeated(lambda: _encode(Image.new("RGB", (8000, 4900)), "PNG")),
        "stalled heads": stall,
        "never read": never_read,
    }


@contextlib.contextmanager
def service(words: Sequence[str], log: pathlib.Path) -> Iterator[tuple[psutil.Popen, int]]:
    """Starts a service; gives its process and its port."""
    command = [sys.executable, "-c", "from resnet_jax.cli import main; main()", "serve", *words]
    limited = ["sh", "-c", f'ulimit -n {OPEN_FILES}; exec "$@"', "sh", *command, "--port=0"]
    with log.open("wb") as errors:
        process = psutil.Popen(
            limited,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            line = process.stdout.readline().decode()
            yield process, int(line.rpartition(":")[2].split()[0])
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
            process.wait()
            process.stdout.close()


def memory(process: psutil.Popen) -> int:
    """Gives the bytes of a process and those below it."""
    total = 0
    for member in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            total += member.memory_full_info().pss
    return total


def busy(process: psutil.Popen) -> float:
    """Gives the seconds that a process and those below it have computed."""
    total = 0.0
    for member in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = member.cpu_times()
            total += times.user + times.system
    return total


async def load(
    process: psutil.Popen, port: int, *, clients: int, attackers: int, seconds: float
) -> dict[str, Any]:
    """Loads a service in peace and then under attack, and stops it."""
    images, kinds, peak = photos(20), attacks(), 0

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, await asyncio.to_thread(memory, process))
            await asyncio.sleep(0.5)

    watcher = asyncio.ensure_future(watch())
    rows: dict[str, Any] = {}
    for phase in ("peace", "attack"):
        until = time.perf_counter() + seconds / 2
        honest, hostile = Answers(until), {name: Answers(until) for name in kinds}
        tasks = []
        if phase == "attack":
            tasks = [kinds[name](port, hostile[name]) for name in kinds for _ in range(attackers)]
        count = clients - len(tasks)
        tasks += [send_repeatedly(port, images, honest) for _ in range(count)]
        used = busy(process)
        running = asyncio.gather(*tasks, return_exceptions=True)
        if phase == "attack":
            await asyncio.sleep(max(0.0, seconds / 2 - 1))
            rows["memory_mib"] = peak >> 20
            begun = time.perf_counter()
            honest.until = begun  # what it gets from here on is not an answer of a running service
            process.send_signal(signal.SIGTERM)
            rows["status"] = await asyncio.to_thread(process.wait, 120)
            rows["stop_seconds"] = round(time.perf_counter() - begun, 1)
        for ended in (await running)[len(tasks) - count :]:
            if ended is not None:
                honest.others[type(ended).__name__] += 1
        row: dict[str, Any] = {"honest": honest.summary()}
        row["images_per_second"] = round(len(honest.seconds) / (seconds / 2), 1)
        if phase == "peace":  # later on processes come and go
            used = (busy(process) - used) / max(1, len(honest.seconds))
            row["cpu_ms_per_image"] = round(1000 * used, 2)
        rows[phase] = row
        rows[phase]["hostile"] = {name: answers.summary() for name, answers in hostile.items()}
    watcher.cancel()
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints what came of it and writes it where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--clients", type=int, default=128)
    parser.add_argument("--attackers", type=int, default=2, help="of each kind")
    parser.add_argument("--seconds", type=float, default=120.0)
    flags, words = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder, "log")
        with service([_network(folder), "--queue=256", *words], log) as (process, port):
            options = {"clients": flags.clients, "attackers": flags.attackers}
            row = asyncio.run(load(process, port, **options, seconds=flags.seconds))
        row["log_bytes"] = log.stat().st_size
        sys.stderr.write(log.read_text()[:2000])
    print(json.dumps(row, indent=2))
    if flags.json:
        flags.json.write_text(json.dumps(row, indent=2) + "\n")
    return 0


def _network(folder: str) -> str:
    """Saves a network that computes little, so that decoding and answering count."""
    import resnet_jax
    from resnet_jax.network_inputs import NetworkInputs

    path = str(pathlib.Path(folder, "network.safetensors"))
    inputs = NetworkInputs(size=32, mean=(0.5,), std=(0.25,))
    resnet_jax.save(resnet_jax.create_model("resnet8", num_classes=10), path, preprocessing=inputs)
    return path


if __name__ == "__main__":
    sys.exit(main())
