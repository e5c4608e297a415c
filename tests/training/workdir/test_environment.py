import json
import pathlib

import pytest

from resnet_jax.errors import ConfigError
from resnet_jax.training.workdir import environment
from resnet_jax.training.workdir.environment import read_environments, record_environment
from resnet_jax.training.workdir.layout import Workdir


@pytest.fixture
def files(tmp_path):
    return Workdir(pathlib.Path(tmp_path))


def test_a_line_is_added_where_something_changed(files, monkeypatch):
    record_environment(files, start=0)
    (first,) = read_environments(files)
    assert (first["step"], first["processes"]) == (0, 1)
    assert first["jax"]
    record_environment(files, start=5)
    assert read_environments(files) == [first]
    known = environment.describe_environment()
    monkeypatch.setattr(environment, "describe_environment", lambda: known | {"devices": "9 x X"})
    for start in (8, 7):  # the process that began at 8 was killed before it saved anything
        record_environment(files, start=start)
    assert [entry["step"] for entry in read_environments(files)] == [0, 7]
    record_environment(files, start=0)
    assert [entry["devices"] for entry in read_environments(files)] == ["9 x X"]


def test_a_damaged_file_is_named(files):
    assert read_environments(files) == []
    files.environment.write_text(json.dumps({"step": 0}) + "\n{half")
    with pytest.raises(ConfigError, match=r"environment.jsonl is damaged; remove it"):
        read_environments(files)
