import dataclasses
import json
import os
import subprocess
import sys

import pytest

from resnet_jax.errors import ConfigError
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.training.workdir.claim import claim, claimed
from resnet_jax.training.workdir.layout import Workdir

INPUTS = NetworkInputs(size=8, class_names=("cat", "dog"))

HOLD = """
import pathlib, sys
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.workdir.claim import claimed
from resnet_jax.training.workdir.layout import Workdir
with claimed(Workdir(pathlib.Path(sys.argv[1])), TrainConfig(), NetworkInputs(class_names=("x",))):
    print("holding", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def files(tmp_path):
    return Workdir(tmp_path / "run")


def save_something(files):
    (files.checkpoints / "3").mkdir(parents=True)


def test_a_run_records_what_its_network_expects_and_is_called(files, config):
    assert claim(files, config, INPUTS) is None
    assert files.read_inputs() == INPUTS


def test_a_folder_without_a_checkpoint_is_free(files, config):
    claim(files, config, INPUTS)
    other = dataclasses.replace(config, seed=5)
    assert "held a run without a checkpoint" in claim(files, other, INPUTS)
    assert files.read_config() == other
    save_something(files)
    with pytest.raises(ConfigError, match=r"another config: seed \(5, not 0\)"):
        claim(files, config, INPUTS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("aaa_dog", "cat")}, "no longer has 'dog' and has 'aaa_dog' as new"),
        ({"class_names": ("cat", "dog", "fox")}, "has 'fox' as new"),
        ({"class_names": ("dog", "cat")}, "in another order"),
        ({"size": 16}, "size 16, not 8"),
    ],
)
def test_other_data_do_not_resume_a_run(files, config, changes, message):
    claim(files, config, INPUTS)
    save_something(files)
    with pytest.raises(ConfigError, match=f"trained on other data: .*{message}"):
        claim(files, config, dataclasses.replace(INPUTS, **changes))
    assert files.read_inputs() == INPUTS


def test_a_run_of_an_older_version_gets_its_record_when_it_resumes(files, config):
    claim(files, config, INPUTS)
    save_something(files)
    files.inputs.unlink()
    assert "an older version began this run" in claim(files, config, INPUTS)
    assert files.read_inputs() == INPUTS


@pytest.mark.parametrize("text", [b"\xff", b"[]", b"{}", b'{"class_names": "cat"}', b'{"a": 1'])
def test_a_damaged_record_is_one_line(files, config, text):
    claim(files, config, INPUTS)
    files.inputs.write_bytes(text)
    with pytest.raises(ConfigError, match=r"inputs\.json is damaged") as caught:
        files.read_inputs()
    assert "\n" not in str(caught.value)


def test_a_config_that_is_not_text_is_one_line(files, config):
    claim(files, config, INPUTS)
    files.config.write_bytes(b"\xff\xfe{}")
    with pytest.raises(ConfigError, match=r"config\.json is damaged: it is not UTF-8"):
        files.read_config()


def test_one_process_holds_a_folder_until_it_ends(files, config):
    command = [sys.executable, "-c", HOLD, str(files.root)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "holding\n"
        with (
            pytest.raises(ConfigError, match=f"in use by process {other.pid} on "),
            claimed(files, config, INPUTS),
        ):
            pytest.fail("two processes hold the folder")
        other.kill()
        other.wait()
    with claimed(files, config, INPUTS):
        assert json.loads((files.root / "running.json").read_text())["process"] == os.getpid()
    assert not (files.root / "running.json").exists()
