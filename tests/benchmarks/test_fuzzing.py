import numpy as np
import pytest

from benchmarks import fuzzing
from resnet_jax.errors import ConfigError


def refuse(data):
    raise ConfigError("one line")


def refuse_at_length(data):
    raise ConfigError("two\nlines")


def fail(data):
    raise KeyError(0)


def take_memory(data):
    return bytearray(5 * 10**9)


@pytest.mark.parametrize(
    ("read", "how"),
    [
        (len, "read"),
        (refuse, "refused"),
        (refuse_at_length, "several lines: two\nlines"),
        (fail, "KeyError: 0"),
        (take_memory, "MemoryError: "),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork next to threads
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_end_is_told_apart(read, how):
    assert fuzzing.run_alone(read, b"data").how == how


def test_the_files_are_read_before_they_are_changed():
    files = fuzzing.seeds(np.random.default_rng(0))
    assert len(files) > 40
    for data in files:
        assert fuzzing.decode_image(data).dtype == np.uint8
