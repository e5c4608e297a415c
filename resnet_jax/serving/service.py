"""What the endpoints do: admit, decode, compute, respond."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from resnet_jax.inference.predict import best
from resnet_jax.serving.batching import Batcher
from resnet_jax.serving.decode_upload import FORMATS, read_upload
from resnet_jax.serving.engine import Engine
from resnet_jax.serving.limits import Limits, RequestError
from resnet_jax.serving.metrics import Metrics
from resnet_jax.serving.uploads import Door

_DECODERS = 2


class Service:
    """The state and the work that the endpoints share.

    Args:
        engine: The network.
        limits: Bounds on requests and batches.
    """

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self.engine = engine
        self.limits = limits
        self.metrics = Metrics(batch_size=limits.batch_size)
        self.door = Door(limits, self.metrics)
        self._decoders = ThreadPoolExecutor(_DECODERS, "decode")
        self._batcher = Batcher(
            engine.classify,
            batch_size=limits.batch_size,
            wait_seconds=limits.wait_seconds,
            observe=self.metrics.batches.observe,
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """Starts the batcher with the application, and stops it at the end."""
        del app
        self._batcher.start()
        try:
            yield
        finally:
            self.door.is_open = False
            await self._batcher.stop()
            self._decoders.shutdown()

    async def predict(self, request: Request, top: int) -> dict[str, Any]:
        """Returns the most likely classes of the image in a request."""
        async with self.door.admit(request) as body, _within(self.limits.request_seconds):
            row = await self._batcher.submit(await self._decode(body))
        trained = self.engine.trained
        return {
            "predictions": [
                {"class": name, "index": index, "probability": round(probability, 6)}
                for name, index, probability in best(row, trained, top)
            ]
        }

    async def explain(self, request: Request, index: int | None) -> Response:
        """Draws the Grad-CAM of the image in a request."""
        trained = self.engine.trained
        async with self.door.admit(request) as body, _within(self.limits.request_seconds):
            if index is not None and not 0 <= index < trained.num_classes:
                raise RequestError(422, f"index={index}: give 0 to {trained.num_classes - 1}")
            pixels = await self._decode(body)
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
            "formats": FORMATS,
            "body_bytes": limits.body_bytes,
            "image_pixels": limits.image_pixels,
        }

    async def _decode(self, body: bytes) -> NDArray[np.uint8]:
        inputs = self.engine.trained.inputs
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._decoders, read_upload, body, inputs, self.limits)


@contextlib.asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise RequestError(503, f"no answer within {seconds:g} seconds; try again") from None
