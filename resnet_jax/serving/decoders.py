"""Decodes uploads in processes of their own, which can be ended.

No thread can be stopped while it decodes, and a fault in a decoder ends its process.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import resource

import numpy as np
import pebble
from numpy.typing import NDArray

from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.serving.decode_upload import read_upload
from resnet_jax.serving.limits import Limits, RequestError

_BASE_BYTES = 2**30  # of addresses: the libraries take a fifth of it
_PIXEL_BYTES = 32  # RGBA, twice, the coefficients of a JPEG and what resizing takes

# 1 x 1 pixels: decoding it loads what is loaded late.
_SMALLEST = bytes.fromhex("474946383961010001008000000000000000002c00000000010001000002024401003b")


class Decoders:
    """A pool of processes that are started once, and replaced where one had to be ended.

    Args:
        inputs: What the network expects; its size is not None.
        limits: How many processes, how long an image may take, and the most pixels.
    """

    def __init__(self, inputs: NetworkInputs, limits: Limits) -> None:
        self._inputs = inputs
        self._limits = limits
        # JAX has threads, which a fork would not copy; processes are forked from one without it.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([read_upload.__module__])
        memory = _BASE_BYTES + _PIXEL_BYTES * limits.image_pixels
        self._pool = pebble.ProcessPool(
            limits.decoders, context=context, initializer=_limit_memory, initargs=[memory]
        )

    async def start(self) -> None:
        """Starts the processes, so that no request waits for them."""
        await asyncio.gather(*(self.decode(_SMALLEST) for _ in range(self._limits.decoders)))

    async def decode(self, body: bytes, content_type: str = "") -> NDArray[np.uint8]:
        """Decodes an upload as `read_upload` does; if the caller is cancelled, its process ends.

        Raises:
            RequestError: The image cannot be used, or takes too much time or memory.
        """
        seconds = self._limits.decode_seconds
        task = self._pool.schedule(
            read_upload,
            args=(body, self._inputs, self._limits),
            kwargs={"content_type": content_type},
            timeout=seconds,
        )
        try:
            pixels: NDArray[np.uint8] = await asyncio.wrap_future(task)
        except TimeoutError:
            reason = f"decoding the image takes more than {seconds:g} seconds, the limit"
            raise RequestError(413, reason) from None
        except pebble.ProcessExpired:
            reason = "decoding the image ended the process that did it; save it again"
            raise RequestError(415, reason) from None
        return pixels

    async def stop(self) -> None:
        """Ends the processes, whatever they do."""
        self._pool.stop()
        await asyncio.to_thread(self._pool.join)


def _limit_memory(size: int) -> None:
    with contextlib.suppress(ValueError, OSError):  # where the system has, or allows, less
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
