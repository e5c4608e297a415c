import asyncio
import threading

import numpy as np
import pytest

from resnet_jax.serving.batching import Batcher


def photo(value):
    return np.full((2, 2, 1), value, np.uint8)


def means(images):
    return images.mean(axis=(1, 2, 3))[:, None].astype(np.float32)


def with_batcher(use, *, compute=means, batch_size=4, wait_seconds=0.02):
    """Runs `use(batcher)` and gives its result and the sizes of the batches."""
    sizes = []

    async def main():
        batcher = Batcher(
            compute, batch_size=batch_size, wait_seconds=wait_seconds, observe=sizes.append
        )
        batcher.start()
        try:
            return await use(batcher)
        finally:
            await batcher.stop()

    return asyncio.run(main()), sizes


def test_everyone_gets_their_own_answer_from_full_batches():
    async def use(batcher):
        return await asyncio.gather(*(batcher.submit(photo(value)) for value in range(10)))

    rows, sizes = with_batcher(use)
    assert [int(row[0]) for row in rows] == list(range(10))
    assert sizes == [4, 4, 2]


def test_a_photo_alone_waits_for_the_deadline_at_most():
    async def use(batcher):
        async with asyncio.timeout(5):
            return await batcher.submit(photo(7))

    row, sizes = with_batcher(use, wait_seconds=0.01)
    assert (row[0], sizes) == (7, [1])


def test_photos_that_come_while_a_batch_is_computed_make_the_next_one():
    began, go_on = threading.Event(), threading.Event()

    def slow(images):
        began.set()
        assert go_on.wait(10)
        return means(images)

    async def use(batcher):
        first = asyncio.create_task(batcher.submit(photo(0)))
        while not began.is_set():
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(batcher.submit(photo(n))) for n in (1, 2, 3)]
        await asyncio.sleep(0)
        go_on.set()
        return await asyncio.gather(first, *others)

    _, sizes = with_batcher(use, compute=slow, wait_seconds=0.0)
    assert sizes == [1, 3]


def test_a_fault_is_told_to_its_batch_alone():
    def picky(images):
        if (images == 9).any():
            raise RuntimeError("nine")
        return means(images)

    async def use(batcher):
        found = await asyncio.gather(
            batcher.submit(photo(9)), batcher.submit(photo(1)), return_exceptions=True
        )
        return found, await batcher.submit(photo(2))

    (found, after), _ = with_batcher(use, compute=picky)
    assert [str(error) for error in found] == ["nine", "nine"]
    assert after[0] == 2


def test_a_cancelled_request_is_not_computed():
    async def use(batcher):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await batcher.submit(photo(1))
        return await batcher.submit(photo(2))

    row, sizes = with_batcher(use, wait_seconds=0.1)
    assert row[0] == 2
    assert sizes == [1]


def test_what_was_submitted_is_computed_before_the_end():
    async def main():
        batcher = Batcher(means, batch_size=4, wait_seconds=5)
        batcher.start()
        waiting = [asyncio.create_task(batcher.submit(photo(n))) for n in range(6)]
        await asyncio.sleep(0)
        await batcher.stop()
        return [int((await task)[0]) for task in waiting]

    assert asyncio.run(main()) == list(range(6))


def test_other_work_shares_the_thread():
    async def use(batcher):
        return await batcher.call(lambda a, b: (a + b, threading.current_thread().name), 1, 2)

    (total, name), _ = with_batcher(use)
    assert total == 3
    assert name.startswith("compute")
