"""What the service counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["CONTENT_TYPE", "Metrics"]


class Metrics:
    """Counters of one service.

    Args:
        batch_size: The most pictures of a batch.

    Attributes:
        requests: Answers by path and status.
        seconds: How long answers took, by path.
        in_flight: Pictures that are worked on.
        batches: Pictures of each batch.
    """

    def __init__(self, *, batch_size: int) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "resnet_jax_requests",
            "Answers by path and status.",
            ["path", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "resnet_jax_request_seconds",
            "Time from a request's first byte to its answer.",
            ["path"],
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "resnet_jax_in_flight", "Pictures that are worked on.", registry=self._registry
        )
        sizes = sorted({min(2**power, batch_size) for power in range(batch_size.bit_length() + 1)})
        self.batches = Histogram(
            "resnet_jax_batch_pictures",
            "Pictures that were computed together.",
            buckets=sizes,
            registry=self._registry,
        )

    def to_text(self) -> bytes:
        """Writes all counters in Prometheus' text format."""
        return generate_latest(self._registry)
