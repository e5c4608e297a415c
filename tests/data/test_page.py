"""The commands of docs/data.md, run as they stand there."""

import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# A small network and small photos, so that a CPU is through in a minute.
SMALL = [
    *("--config.epochs=1", "--config.batch_size=8", "--config.eval_batch_size=8"),
    *("--config.data.image_size=32", "--config.data.workers=0", "--config.model.dtype=float32"),
]


@pytest.fixture
def photos(shared_data, tmp_path):
    """Twenty photographs of animals and twenty of things, as a person would lay them out."""
    paths = sorted((shared_data / "data" / "photos").iterdir())
    for name, prefix in (("cat", "n02"), ("dog", "n04")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for path in [path for path in paths if path.name.startswith(prefix)][:20]:
            shutil.copy(path, tmp_path / "photos" / name)
    return tmp_path / "photos"


def commands():
    (block,) = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "data.md").read_text(), re.S)
    return [shlex.split(line) for line in block.splitlines()]


def run(words, folder):
    assert words[0] == "resnet-jax"
    program = [sys.executable, "-c", "from resnet_jax.cli import main; main()", *words[1:]]
    return subprocess.run(program, cwd=folder, capture_output=True, text=True, timeout=280)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_commands_lead_from_a_folder_to_a_network(photos, shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    weights = shared_data / "data" / "cifar_resnet_weights" / "resnet20-12fca82f.th"
    prepare, train, predict = commands()
    words = [word.replace("finetune.py", f"finetune.py:resnet20.{weights}") for word in train]
    result = run(prepare, tmp_path)
    assert result.returncode == 0, result.stderr
    assert "pets/1.0.0 is ready" in result.stdout
    result = run([*words, *SMALL], tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"test accuracy \S+% \(\d correct; counted 4 of 4 images\)", result.stdout)
    result = run(predict, tmp_path)
    assert result.returncode == 0, result.stderr
    assert "cat" in result.stdout
    assert "dog" in result.stdout
