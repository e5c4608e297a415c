"""Gathers pictures that arrive about the same time into batches."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Compute = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclasses.dataclass(frozen=True)
class _Waiting:
    pixels: NDArray[np.uint8]
    answer: asyncio.Future[NDArray[np.float32]]


class Batcher:
    """Computes batches one after another, in a thread that does nothing else.

    A batch is begun with the first picture and closed when it is full, or when that picture has
    waited for `wait_seconds`. While one is computed the next ones queue up, so that batches grow
    with the load.

    Args:
        compute: From uint8 [pictures, height, width, channels], at most `batch_size` of them, to a
            row for each.
        batch_size: The most pictures of a batch.
        wait_seconds: How long the first picture waits.
        observe: Is told how many pictures each batch had.
    """

    def __init__(
        self,
        compute: Compute,
        *,
        batch_size: int,
        wait_seconds: float,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._compute = compute
        self._batch_size = batch_size
        self._wait_seconds = wait_seconds
        self._observe = observe
        self._queue: asyncio.Queue[_Waiting | None] = asyncio.Queue()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "compute")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to work, on the event loop that is running."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """Computes what has been submitted, then stops."""
        await self._queue.put(None)
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    async def submit(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Gives the result of one picture.

        Raises:
            Exception: What `compute` raised for the picture's batch.
        """
        answer = asyncio.get_running_loop().create_future()
        await self._queue.put(_Waiting(pixels, answer))
        return await answer

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs something else in the thread that computes, between two batches."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, function, *arguments)

    async def _work(self) -> None:
        while (first := await self._queue.get()) is not None:
            batch, is_last = await self._gather(first)
            # Whoever has given up in the meantime is not computed.
            batch = [waiting for waiting in batch if not waiting.answer.done()]
            if batch:
                await self._answer(batch)
            if is_last:
                return

    async def _gather(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """Waits for more pictures; the second value tells whether none will follow."""
        batch = [first]
        deadline = asyncio.get_running_loop().time() + self._wait_seconds
        while len(batch) < self._batch_size:
            try:
                following = self._queue.get_nowait()
            except asyncio.QueueEmpty:
                try:
                    async with asyncio.timeout_at(deadline):
                        following = await self._queue.get()
                except TimeoutError:
                    return batch, False
            if following is None:
                return batch, True
            batch.append(following)
        return batch, False

    async def _answer(self, batch: list[_Waiting]) -> None:
        self._observe(len(batch))
        pixels = np.stack([waiting.pixels for waiting in batch])
        try:
            rows = await self.call(self._compute, pixels)
        except Exception as error:  # the next batch may go well
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            return
        for waiting, row in zip(batch, rows, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(row)
