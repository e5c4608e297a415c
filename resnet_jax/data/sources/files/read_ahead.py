"""Fetches in threads what will soon be read: a bucket answers late, but to many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")

_THREADS = 32


class ReadAhead(Generic[Key]):
    """Contents by their keys; those that were announced are being fetched.

    Args:
        fetch: Gets the content of a key; called by several threads.
    """

    def __init__(self, fetch: Callable[[Key], bytes]) -> None:
        self._fetch = fetch
        self._pending: dict[Key, Future[bytes]] = {}

    def expect(self, keys: Iterable[Key]) -> None:
        """Begins to fetch the contents of keys."""
        for key in keys:
            if key not in self._pending:
                self._pending[key] = self._pool.submit(self._fetch, key)

    def get(self, key: Key) -> bytes:
        """Returns the content of a key, and raises what its fetching raised."""
        pending = self._pending.pop(key, None)
        return self._fetch(key) if pending is None else pending.result()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_THREADS, thread_name_prefix="read-ahead")

    def __getstate__(self) -> dict[str, Any]:
        return {"_fetch": self._fetch, "_pending": {}}
