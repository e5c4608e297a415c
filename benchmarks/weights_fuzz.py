"""Does any weights file crash, stall or swell the reader, or give other values than PyTorch?

    python -m benchmarks.weights_fuzz --files 20000 --json benchmarks/counts/weights_fuzz.json

Makes files of five kinds (archives of torch.save, its older format, pickles built instruction by
instruction, safetensors, our own format), most of them damaged or dishonest. Each is read in a
process that may take 4 GB of memory and 10 s; a process reads files until one of them ends it.
PyTorch reads the same files with `weights_only=True` in processes of its own. Where both read a
file, the values have to be equal. Exits with 1 if one file did harm.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

from benchmarks.fuzzed_files import KINDS, make, make_bases

SECONDS = 10
MEMORY = 4 * 2**30
BATCH = 250
HARM = ("crash", "hang", "memory")


class TooLongError(BaseException):
    """The time of a file is over; not an Exception, which a reader might handle."""


def main() -> None:
    """Compares both readers, or is one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--reader", choices=("ours", "pytorch"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reader:
        read_all(arguments.reader, arguments.folder, arguments.files, arguments.seed)
        return
    result = compare(arguments.files, arguments.seed)
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(any(result["ours"].get(kind) for kind in HARM) or bool(result["other_values"]))


def compare(files: int, seed: int) -> dict[str, Any]:
    """Lets both readers read all files, and counts how that ended."""
    with tempfile.TemporaryDirectory() as folder:
        make_bases(pathlib.Path(folder))
        running = []
        for reader in ("ours", "pytorch"):
            options = ("--files", str(files), "--seed", str(seed), "--folder", folder)
            command = [
                sys.executable,
                "-m",
                "benchmarks.weights_fuzz",
                "--reader",
                reader,
                *options,
            ]
            running.append(subprocess.Popen(command))
        if sum(process.wait() for process in running):
            raise RuntimeError("a reader did not come to the end of the files")
        ours, theirs = (outcomes(pathlib.Path(folder), reader) for reader in ("ours", "pytorch"))
    stricter: collections.Counter[str] = collections.Counter()
    different, harmed = [], []
    for number, (how, what) in sorted(ours.items()):
        their_how, their_what = theirs.get(number, ("", ""))
        if how in HARM:
            harmed.append([number, how, what])
        if how == their_how == "read" and what != their_what:
            different.append(number)
        if (how, their_how) == ("refused", "read"):
            stricter[what] += 1
    return {
        "files": files,
        "seed": seed,
        "kinds": dict(collections.Counter(KINDS[number % len(KINDS)] for number in range(files))),
        "ours": dict(collections.Counter(how for how, _ in ours.values())),
        "pytorch": dict(collections.Counter(how for how, _ in theirs.values())),
        "read_by_both": sum(
            how == "read" == theirs.get(number, ("",))[0] for number, (how, _) in ours.items()
        ),
        "other_values": different,
        "harm": harmed,
        "only_pytorch_reads": dict(stricter.most_common()),
    }


def outcomes(folder: pathlib.Path, reader: str) -> dict[int, tuple[str, str]]:
    """Returns how the reading of each file ended, and its values or the reason."""
    lines = map(json.loads, (folder / f"{reader}.jsonl").read_text().splitlines())
    return {number: (how, what) for number, how, what in lines}


def read_all(reader: str, folder: pathlib.Path, files: int, seed: int) -> None:
    """Reads the files in processes that are forked from this one, which has imported everything."""
    from benchmarks import fuzzed_values

    read: Callable[[pathlib.Path, str], str] = getattr(fuzzed_values, f"read_{reader}")()
    log = folder / f"{reader}.jsonl"
    log.touch()
    warnings.simplefilter("ignore", RuntimeWarning)  # of forks, before JAX has started threads
    start = 0
    while start < files:
        end = min(start + BATCH, files)
        child = os.fork()
        if child == 0:
            try:
                read_batch(read, folder, log, range(start, end), seed)
            finally:
                os._exit(1)  # not into the loop of the parent
        start, how = wait(child, log, start, end)
        if how:
            with log.open("a") as file:
                file.write(json.dumps([start, how, "the process ended"]) + "\n")
            start += 1


def wait(child: int, log: pathlib.Path, start: int, end: int) -> tuple[int, str | None]:
    """Waits for a process; returns the next file, and how the process ended if not by itself."""
    seen, since = -1, time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        done = max((json.loads(line)[0] for line in log.read_text().splitlines()[-1:]), default=-1)
        if ended:
            following = max(done + 1, start)
            return following, None if following == end or status == 0 else "crash"
        if done != seen:
            seen, since = done, time.monotonic()
        if time.monotonic() - since > 2 * SECONDS:  # a signal interrupts Python only
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return max(done + 1, start), "hang"
        time.sleep(0.05)


def read_batch(
    read: Callable[[pathlib.Path, str], str],
    folder: pathlib.Path,
    log: pathlib.Path,
    numbers: range,
    seed: int,
) -> None:
    """Reads files, in a process that ends with the last of them."""
    warnings.simplefilter("ignore")  # of names that an archive has twice
    resource.setrlimit(resource.RLIMIT_AS, (used() + MEMORY,) * 2)
    signal.signal(signal.SIGALRM, on_alarm)
    own = folder / log.stem  # both readers run at once
    own.mkdir(exist_ok=True)
    bases = {path.name: path.read_bytes() for path in (folder / "bases").iterdir()}
    with log.open("a", buffering=1) as file:
        for number in numbers:
            path, kind = make(own, bases, number, seed)
            file.write(json.dumps([number, *outcome(read, path, kind)]) + "\n")
            path.unlink()
    os._exit(0)


def on_alarm(_signal: int, _frame: Any) -> None:
    """Ends the reading of a file."""
    raise TooLongError


def used() -> int:
    """Returns the address space of this process, most of which its libraries reserve."""
    pages = pathlib.Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()


def outcome(
    read: Callable[[pathlib.Path, str], str], path: pathlib.Path, kind: str
) -> tuple[str, str]:
    """Returns how the reading of a file ends, and its values or the reason."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        return "read", read(path, kind)
    except TooLongError:
        return "hang", ""
    except Exception as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        causes: list[BaseException | None] = [error]
        while causes[-1] is not None:
            causes.append(causes[-1].__context__)
        if path.parent.name == "pytorch":
            return "refused", ""
        if any(isinstance(cause, MemoryError) for cause in causes):
            return "memory", repr(error)[:300]
        message = str(error)
        fine = type(error).__name__ in ("WeightsError", "ConfigError") and message.isprintable()
        if fine and len(message) < 2000:
            return "refused", reason(message, path)
        return "crash", f"{type(error).__name__}: {message[:300]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def reason(message: str, path: pathlib.Path) -> str:
    """Returns a message without what differs between files of one fault."""
    words = message.replace(str(path), "FILE").split()
    return " ".join(word for word in words if not any(map(str.isdigit, word)))[:70]


if __name__ == "__main__":
    main()
