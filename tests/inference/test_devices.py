import json
import os
import pathlib
import subprocess
import sys

import pytest

from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.weights import save

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_number_of_devices_changes_nothing(build, image_folder, tmp_path):
    save(build(), tmp_path / "net.safetensors", preprocessing=NetworkInputs(size=8))

    def evaluate(devices):
        code = "from resnet_jax.cli import main; main()"
        words = ["eval", f"--model={tmp_path / 'net.safetensors'}", f"--data=folder:{image_folder}"]
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
    for name in ("loss", "calibration_error"):
        assert eight.pop(name) == pytest.approx(one.pop(name), rel=1e-5)
    assert one == eight
    assert one["count"] == 15
