"""The counters of the service, for Prometheus."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["CONTENT_TYPE", "Metrics"]


class Metrics:
    """The counters of one service.

    Args:
        batch_size: The most images in a batch.

    Attributes:
        requests: Responses by path and status.
        seconds: How long responses took, by path.
        in_flight: Requests in progress.
        batches: The number of images in each batch.
    """

    def __init__(self, *, batch_size: int) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "resnet_jax_requests",
            "Responses by path and status.",
            ["path", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "resnet_jax_request_seconds",
            "Time from the first byte of a request to its response.",
            ["path"],
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "resnet_jax_in_flight", "Requests in progress.", registry=self._registry
        )
        sizes = sorted({min(2**power, batch_size) for power in range(batch_size.bit_length() + 1)})
        self.batches = Histogram(
            "resnet_jax_batch_images",
            "Images computed together.",
            buckets=sizes,
            registry=self._registry,
        )

    def to_text(self) -> bytes:
        """Returns all counters in the text format of Prometheus."""
        return generate_latest(self._registry)
