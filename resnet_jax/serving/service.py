"""What the endpoints do: admit, decode, compute, respond."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from resnet_jax.inference.predict import best
from resnet_jax.serving.batching import Batcher
from resnet_jax.serving.decode_upload import FORMATS
from resnet_jax.serving.decoders import Decoders
from resnet_jax.serving.engine import Engine
from resnet_jax.serving.limits import Limits, RequestError
from resnet_jax.serving.metrics import Metrics
from resnet_jax.serving.uploads import Door


class Service:
    """The state and the work that the endpoints share.

    Args:
        engine: The network.
        limits: Bounds on requests and batches.

    Attributes:
        door: Admits requests.
        metrics: The counters.
        is_stopping: Whether the process was told to stop.
    """

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self.engine = engine
        self.limits = limits
        self.metrics = Metrics(batch_size=limits.batch_size)
        self.door = Door(limits, self.metrics)
        self.is_stopping = False
        self._progress = _Progress()
        self._decoders = Decoders(engine.trained.inputs, limits)
        self._batcher = Batcher(
            engine.classify,
            batch_size=limits.batch_size,
            wait_seconds=limits.wait_seconds,
            observe=self.metrics.batches.observe,
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """Starts decoders and batcher with the application, and stops them at the end."""
        del app
        self._batcher.start()
        try:
            await self._decoders.start()
            yield
        finally:
            self.door.is_open = False
            await self._batcher.stop()
            await self._decoders.stop()

    async def predict(self, request: Request, top: int) -> dict[str, Any]:
        """Returns the most likely classes of the image in a request."""
        async with self.door.admit(request) as body, self._answering():
            row = await self._batcher.submit(await self._decode(request, body))
        trained = self.engine.trained
        return {"predictions": [candidate.plain() for candidate in best(row, trained, top)]}

    async def explain(self, request: Request, index: int | None) -> Response:
        """Draws the Grad-CAM of the image in a request."""
        trained = self.engine.trained
        async with self.door.admit(request) as body, self._answering():
            if index is not None and not 0 <= index < trained.num_classes:
                raise RequestError(422, f"index={index}: give 0 to {trained.num_classes - 1}")
            pixels = await self._decode(request, body)
            image, explained = await self._batcher.call(self.engine.explain, pixels, index)
        return Response(image, media_type="image/png", headers={"x-class-index": str(explained)})

    def describe(self) -> dict[str, Any]:
        """Describes the network and the limits."""
        trained, limits = self.engine.trained, self.limits
        return {
            "model": pathlib.Path(trained.origin).name,
            "step": trained.step,
            "classes": [trained.class_name(index) for index in range(trained.num_classes)],
            "size": trained.inputs.size,
            "channels": trained.inputs.channels,
            "multi_label": trained.inputs.multi_label,
            "formats": FORMATS,
            "body_bytes": limits.body_bytes,
            "image_pixels": limits.image_pixels,
        }

    def health(self) -> dict[str, Any]:
        """Says whether a further request would be answered, and what those before it do.

        The status is `ok`, `stopping`, `full` where a request would be refused, or `stalled` where
        half of the time that a request may take has passed without an answer to any.
        """
        waiting = self._progress.seconds
        status = "ok"
        if self.is_stopping or not self.door.is_open:
            status = "stopping"
        elif self.door.inside >= self.limits.queue:
            status = "full"
        elif waiting > self.limits.request_seconds / 2:
            status = "stalled"
        return {
            "status": status,
            "in_flight": self.door.inside,
            "queue": self.limits.queue,
            "seconds_without_answer": round(waiting, 3),
        }

    async def _decode(self, request: Request, body: bytes) -> NDArray[np.uint8]:
        return await self._decoders.decode(body, request.headers.get("content-type", ""))

    @contextlib.asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        seconds = self.limits.request_seconds
        self._progress.begin()
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            self._progress.end(answered=False)
            raise RequestError(503, f"no answer within {seconds:g} seconds; try again") from None
        except BaseException:
            self._progress.end(answered=True)
            raise
        self._progress.end(answered=True)


class _Progress:
    """How long requests have waited without an answer to any of them."""

    def __init__(self) -> None:
        self._waiting = 0
        self._since = 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._since if self._waiting else 0.0

    def begin(self) -> None:
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting += 1

    def end(self, *, answered: bool) -> None:
        self._waiting -= 1
        if answered:
            self._since = time.monotonic()
