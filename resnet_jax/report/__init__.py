"""One page about one or several runs, for a person."""

from resnet_jax.report.page import write_report

__all__ = ["write_report"]
