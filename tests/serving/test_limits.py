import pytest

from resnet_jax.errors import ConfigError
from resnet_jax.serving.limits import Limits


@pytest.mark.parametrize("name", ["body_bytes", "image_pixels", "queue", "batch_size"])
def test_limits_are_positive(name):
    with pytest.raises(ConfigError, match=f"{name}=0: give 1 or more"):
        Limits(**{name: 0})


def test_nobody_waits_for_longer_than_a_request_may_take():
    with pytest.raises(ConfigError, match=r"wait_seconds=2: .* request_seconds=1"):
        Limits(wait_seconds=2, request_seconds=1)
    with pytest.raises(ConfigError, match="wait_seconds=nan"):
        Limits(wait_seconds=float("nan"))


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_requests_have_an_end(seconds):
    with pytest.raises(ConfigError, match="request_seconds="):
        Limits(request_seconds=seconds)
