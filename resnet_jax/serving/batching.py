"""Collects images that arrive at about the same time into batches."""

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
    """Computes batches one after another, in a thread of its own.

    The first image opens a batch. It closes when it is full, or when that image has waited for
    `wait_seconds`. While a batch is computed, further images queue up, so batches grow with the
    load.

    Args:
        compute: Maps uint8 [images, height, width, channels], at most `batch_size` images, to a row
            for each.
        batch_size: The most images in a batch.
        wait_seconds: How long the first image waits.
        observe: Receives the number of images of each batch.
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
        """Starts to work, on the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """Computes what was submitted, then stops."""
        await self._queue.put(None)
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    async def submit(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the result of one image.

        Raises:
            Exception: `compute` failed for the batch of this image.
        """
        answer = asyncio.get_running_loop().create_future()
        await self._queue.put(_Waiting(pixels, answer))
        return await answer

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a function in the compute thread, between two batches."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, function, *arguments)

    async def _work(self) -> None:
        while (first := await self._queue.get()) is not None:
            batch, is_last = await self._gather(first)
            # Do not compute images whose request was cancelled in the meantime.
            batch = [waiting for waiting in batch if not waiting.answer.done()]
            if batch:
                await self._answer(batch)
            if is_last:
                return

    async def _gather(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """Waits for more images; the second value is True if the service stops."""
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
        except Exception as error:  # the next batch may succeed
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            return
        for waiting, row in zip(batch, rows, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(row)
