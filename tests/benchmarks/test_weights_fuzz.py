"""A small part of the fuzzing of weights files, always the same."""

import random

import pytest

from benchmarks import fuzzed_pickles, weights_fuzz

FILES = 120


@pytest.mark.slow
@pytest.mark.usefixtures("torch")
def test_no_file_does_harm_or_gives_other_values_than_pytorch():
    result = weights_fuzz.compare(FILES, seed=0)
    assert result["harm"] == []
    assert result["other_values"] == []
    assert sum(result["ours"].values()) == sum(result["pytorch"].values()) == FILES
    assert result["read_by_both"] > FILES / 10  # the files are not all too damaged to tell
    assert result["ours"]["refused"] > FILES / 10


def test_the_files_of_a_seed_are_the_same_everywhere():
    first, second = (fuzzed_pickles.Program(random.Random("1/2")).entries() for _ in range(2))
    assert first == second
    assert first[0][1].startswith(b"\x80\x02}(")
