"""Compilers in processes of their own."""

import os
import resource

import pytest

from resnet_jax.aot.apart import run_apart
from resnet_jax.errors import ConfigError


def limit():
    return resource.getrlimit(resource.RLIMIT_STACK)[0]


def test_threads_have_large_stacks():
    before = limit()
    assert run_apart(limit) >= 2**26 or resource.getrlimit(resource.RLIMIT_STACK)[1] < 2**26
    assert limit() == before


def test_a_compiler_that_ends_its_process_is_named():
    with pytest.raises(ConfigError, match="the compiler ended its process"):
        run_apart(os.abort)


def test_errors_come_back():
    with pytest.raises(ConfigError, match="unknown chip"):
        run_apart(fail)


def fail():
    raise ConfigError("unknown chip")
