"""An HTML page about one or more runs."""

from resnet_jax.report.page import write_report

__all__ = ["write_report"]
