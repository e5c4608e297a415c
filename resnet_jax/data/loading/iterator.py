"""An iterator over batches that can be saved and restored at any step (Grain)."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from resnet_jax.data.loading.batches import Batch
from resnet_jax.errors import ConfigError


class BatchIterator(Iterator[Batch]):
    """Batches from a function of the step, read ahead by threads or by spawned processes.

    Close it, or use it in a `with` statement: it holds threads or processes.

    Args:
        batches: Maps a step to its batch.
        steps: Number of batches; None for no end.
        workers: Spawned processes; 0 for threads of this process.
        threads: Threads that read ahead where there are no processes; 0 reads on demand.
        identity: What the order of the batches depends on; a state is only taken back by an
            iterator with the same.
    """

    def __init__(
        self,
        batches: Callable[[int], Batch],
        *,
        steps: int | None,
        workers: int,
        threads: int,
        identity: Mapping[str, int],
    ) -> None:
        self._batches = batches
        self._steps = sys.maxsize if steps is None else steps
        self._workers = workers
        self._threads = threads
        self._identity = {**identity, "workers": workers}
        self._step = 0
        self._reader: Any = None
        self._closed = False

    def __next__(self) -> Batch:
        if self._closed:
            raise ValueError("the iterator is closed; make a new one and set its state")
        if self._reader is None:
            self._reader = self._start()
        try:
            batch = next(self._reader)
        except StopIteration:
            self._stop()
            raise
        except ConfigError as error:  # of a worker; raised anew, as an error of this package
            raise type(error)(str(error)) from error
        except RuntimeError as error:
            if "terminated unexpectedly" not in str(error):
                raise
            raise ChildProcessError(
                f"a data worker ended before its time, at step {self._step}, often for lack of "
                "memory; run again to resume, or in a new workdir set data.workers below "
                f"{self._workers}, or to 0 for threads"
            ) from error
        self._step += 1
        return batch

    def get_state(self) -> dict[str, int]:
        """Gives the position as a dict for JSON: the next batch is that of step `step`."""
        return {**self._identity, "step": self._step}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Moves to a saved position.

        Args:
            state: What `get_state` gave.

        Raises:
            ConfigError: The state comes from an iterator with other settings, which would
                give other batches; the first difference is named.
        """
        for field, value in self._identity.items():
            saved = state.get(field)
            if saved != value:
                raise ConfigError(
                    f"the data iterator was saved with {field}={saved} and now has "
                    f"{field}={value}; set {field} back to {saved}, or start in a new workdir"
                )
        self._stop()
        self._step = int(state["step"])

    def skip(self, steps: int) -> None:
        """Moves forward without reading, for a dataset whose batches are taken from elsewhere."""
        self._stop()
        self._step += steps

    def close(self) -> None:
        """Ends the threads or processes; the iterator gives nothing more."""
        self._stop()
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _start(self) -> Iterator[Batch]:
        import grain

        dataset = grain.MapDataset.range(self._step, self._steps).map(self._batches)
        threads = 1 if self._workers else self._threads
        reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 1)
        if not threads:
            reading = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
        stream = dataset.to_iter_dataset(reading)
        if self._workers:
            from absl import flags

            if not flags.FLAGS.is_parsed():
                flags.FLAGS.mark_as_parsed()  # Grain reads its flags to hand them to its workers
            stream = stream.mp_prefetch(
                grain.MultiprocessingOptions(num_workers=self._workers, per_worker_buffer_size=2),
                worker_init_fn=_begin_worker,
            )
        return iter(stream)

    def _stop(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
            if self._workers:
                gc.collect()  # Grain's ended threads hold batches, in shared memory, in cycles


def _begin_worker(worker: int, workers: int) -> None:
    """Leaves it to the run, and to it alone, when a worker ends."""
    del worker, workers
    # The keyboard interrupts the workers as well, while the run still takes their batches.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_run, daemon=True).start()


def _end_with_the_run() -> None:
    """A run that was killed could not end its workers; they would wait for it for ever."""
    run = multiprocessing.parent_process()
    if run is not None:
        run.join()
        os._exit(1)
