import json
import os
import pathlib
import subprocess
import sys

import pytest

from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.weights import save

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def several(image_folder):
    """A table that gives the same images several classes each."""
    names = sorted(path.name for path in (image_folder / "test").iterdir())
    rows = ["file,labels,split"]
    for number, path in enumerate(sorted((image_folder / "test").rglob("*.png"))):
        labels = [name for place, name in enumerate(names) if (number + place) % 2 or number == 3]
        rows.append(f"{path},{' '.join(labels)},test")
    table = image_folder / "labels.csv"
    table.write_text("\n".join(rows))
    return f"csv:{table}:space"


@pytest.mark.slow
@pytest.mark.parametrize("multi_label", [False, True])
def test_the_number_of_devices_changes_nothing(build, image_folder, several, tmp_path, multi_label):
    inputs = NetworkInputs(size=8, multi_label=multi_label)
    save(build(), tmp_path / "net.safetensors", preprocessing=inputs)
    data = several if multi_label else f"folder:{image_folder}"

    def evaluate(devices):
        code = "from resnet_jax.cli import main; main()"
        words = ["eval", f"--model={tmp_path / 'net.safetensors'}", f"--data={data}"]
        flag = f"--xla_force_host_platform_device_count={devices}"
        done = subprocess.run(
            [sys.executable, "-c", code, *words, "--batch-size=7", "--json"],
            env=os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flag},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    one, eight = evaluate(1), evaluate(8)
    for name in ("loss",) if multi_label else ("loss", "calibration_error"):
        assert eight.pop(name) == pytest.approx(one.pop(name), rel=1e-5)
    assert one == eight
    assert one["count"] == 15
