"""Decoding in processes that are ended where an image takes too much."""

import asyncio
import contextlib

import numpy as np
import psutil
import pytest

from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.serving import decoders
from resnet_jax.serving.decode_upload import read_upload
from resnet_jax.serving.limits import Limits, RequestError
from tests.serving.conftest import encode

INPUTS = NetworkInputs(size=16)
SMALL = encode(np.arange(3 * 30 * 20, dtype=np.uint32).astype(np.uint8).reshape(30, 20, 3))


def run(use, limits):
    async def main():
        pool = decoders.Decoders(INPUTS, limits)
        try:
            return await use(pool)
        finally:
            await pool.stop()

    return asyncio.run(main())


async def decode_at_last(pool):
    """A machine under load may take too long for a small image as well."""
    for _ in range(20):
        with contextlib.suppress(RequestError):
            return await pool.decode(SMALL)
    raise AssertionError("no process took the place of one that was ended")


def test_images_are_decoded_as_here(photos):
    async def use(pool):
        await pool.start()
        return await asyncio.gather(*map(pool.decode, photos))

    for data, pixels in zip(photos, run(use, Limits()), strict=True):
        np.testing.assert_array_equal(pixels, read_upload(data, INPUTS, Limits()))


def test_a_refusal_comes_back_whole():
    async def use(pool):
        await pool.decode(b"no image")

    with pytest.raises(RequestError, match="this is not an image") as caught:
        run(use, Limits(decoders=1))
    assert caught.value.status == 415
    assert "--data-binary" in caught.value.reason
    assert "-F file=@FILE" in caught.value.reason


@pytest.fixture
def workers():
    """The processes that decode for this test; those of an earlier one may still be ending."""
    others = set(_decoding())
    return lambda: set(_decoding()) - others


def _decoding():
    """The grandchildren: a process without JAX was asked to fork them."""
    here = psutil.Process()
    return [child for child in here.children(recursive=True) if child.ppid() != here.pid]


@pytest.fixture(scope="module")
def large():
    """88 million pixels in 100 KB, which take more than half a second."""
    return encode(np.zeros((9400, 9400), np.uint8))


@pytest.mark.slow
def test_an_image_that_takes_too_long_is_given_up_and_the_next_one_read(large):
    limits = Limits(decoders=1, decode_seconds=0.2, image_pixels=9 * 10**7)

    async def use(pool):
        await decode_at_last(pool)
        with pytest.raises(RequestError, match=r"takes more than 0\.2 seconds") as caught:
            await pool.decode(large)
        return caught.value.status, await decode_at_last(pool)

    status, pixels = run(use, limits)
    assert status == 413
    assert pixels.shape == (16, 16, 3)


@pytest.mark.slow
def test_an_image_that_nobody_waits_for_any_more_is_given_up(large, workers):
    limits = Limits(decoders=1, decode_seconds=60, image_pixels=9 * 10**7)

    async def use(pool):
        await pool.start()
        (before,) = workers()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await pool.decode(large)
        await pool.decode(SMALL)
        gone, _ = await asyncio.to_thread(psutil.wait_procs, [before], timeout=60)
        return gone

    assert run(use, limits)


@pytest.mark.slow
def test_a_process_that_dies_is_replaced(large, workers):
    limits = Limits(decoders=1, image_pixels=9 * 10**7)

    async def use(pool):
        await pool.start()
        task = asyncio.create_task(pool.decode(large))
        await asyncio.sleep(0.1)
        for worker in workers():
            worker.kill()
        with pytest.raises(RequestError, match="ended the process") as caught:
            await task
        return caught.value.status, await pool.decode(SMALL)

    status, pixels = run(use, limits)
    assert status == 415
    assert pixels.shape == (16, 16, 3)


@pytest.mark.slow
def test_memory_has_a_limit(large, monkeypatch):
    monkeypatch.setattr(decoders, "_PIXEL_BYTES", 0)
    monkeypatch.setattr(
        decoders, "_BASE_BYTES", 5 * 2**27
    )  # enough for libraries, not for the image
    limits = Limits(decoders=1, image_pixels=9 * 10**7)

    async def use(pool):
        with pytest.raises(RequestError, match="more memory than there is") as caught:
            await pool.decode(large)
        return caught.value.status, await pool.decode(SMALL)

    status, pixels = run(use, limits)
    assert status == 415
    assert pixels.shape == (16, 16, 3)
