"""The record of examples that were left out because they could not be used."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable
from pathlib import Path

from resnet_jax.errors import ConfigError
from resnet_jax.plain_json import json_text

REMEDY = "fix or remove it, or set data.on_error=skip (prepare and eval: --skip-bad)"


class BadExamples:
    """Counts and lists examples that are skipped, one JSON object a line, each of them once.

    Worker processes and later runs write to the same file; what it lists counts towards the limit.

    Args:
        path: The file, such as `WORKDIR/bad_examples.jsonl`; it is created with the first line.
        limit: The most examples that may be skipped.
        setting: What the user sets the limit by, for messages.

    Raises:
        ConfigError: The limit is negative.
    """

    def __init__(
        self, path: str | Path, *, limit: int, setting: str = "data.max_bad_examples"
    ) -> None:
        if limit < 0:
            raise ConfigError(f"{setting}={limit} is negative; give 0 or more")
        self.path = Path(path)
        self.limit = limit
        self._setting = setting
        self._known: set[str] = set()

    def names(self) -> list[str]:
        """Gives the names of all examples that were skipped."""
        if not self.path.is_file():
            return []
        with self.path.open(encoding="utf-8") as lines:
            return _names(lines)

    def add(self, name: str, reason: str) -> None:
        """Records an example that is skipped.

        Args:
            name: The file or the example.
            reason: Why it cannot be used.

        Raises:
            ConfigError: More examples than the limit were skipped.
        """
        if name in self._known:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+", encoding="utf-8") as lines:
            fcntl.flock(lines, fcntl.LOCK_EX)  # until the file is closed; other workers wait
            lines.seek(0)
            listed = _names(lines)
            if name not in listed:
                self._check(len(listed) + 1, name, reason)
                lines.write(json_text({"name": name, "reason": reason}) + "\n")
        self._known = {*self._known, *listed, name}

    def _check(self, count: int, name: str, reason: str) -> None:
        if count > self.limit:
            raise ConfigError(
                f"{name}: {reason}; it would be example {count} to be skipped and "
                f"{self._setting}={self.limit}. They are listed in {self.path}: fix the "
                "files or raise the limit"
            )


def _names(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(json.loads(line)["name"] for line in lines))
