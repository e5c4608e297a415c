import contextlib
import http.client
import io
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

import resnet_jax
from resnet_jax.inference.trained import open_trained
from resnet_jax.models import ResNet, ResNetConfig
from resnet_jax.network_inputs import NetworkInputs

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ResNetConfig(
    depths=(1, 1), widths=(8, 16), stem="cifar", stem_features=8, shortcut="a", num_classes=6
)
NAMES = ("ant", "bee", "<cat>", "dog", "emu", "fox")
DEADLINE = 120.0
# As in pyproject.toml: warnings are errors, but for an entry of the compilation cache that another
# process has half written.
WARNINGS = ["-Werror", *(f"-Wignore:Error {verb}:UserWarning" for verb in ("reading", "writing"))]


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """A file with a small network that was never trained, whose answers differ from each other."""
    model = nnx.eval_shape(lambda: ResNet(TINY, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    for path, leaf in nnx.to_flat_state(nnx.state(model)):
        shape = leaf.get_value().shape
        if path[-1] in ("scale", "var"):
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.normal(size=shape) * (8 if "head" in path else np.prod(shape[:-1]) ** -0.5)
        leaf.set_value(jnp.asarray(value, jnp.float32))
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    inputs = NetworkInputs(size=16, mean=(0.5,), std=(0.25,))
    resnet_jax.save(model, path, preprocessing=inputs, class_names=NAMES)
    return path


@pytest.fixture(scope="session")
def trained(network):
    return open_trained(network)


def encode(pixels, kind="png", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def photos():
    """Files of several kinds and sizes."""
    rng = np.random.default_rng(0)
    kinds = ["png", "jpeg", "gif", "webp", "bmp"]
    return [
        encode(rng.integers(0, 256, (20 + n, 30, 3), dtype=np.uint8) // (n + 1), kinds[n % 5])
        for n in range(20)
    ]


class Process:
    """A service that runs."""

    def __init__(self, *words, cwd):
        command = "from resnet_jax.cli import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, *WARNINGS, "-c", command, "serve", *map(str, words)],
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = queue.Queue()
        self.errors = []
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.lines.put)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.errors.append)),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, take):
        with stream:
            for line in stream:
                take(line.rstrip())

    def wait_until_it_listens(self):
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(queue.Empty):
                self.announcement = self.lines.get(timeout=0.1)
                self.port = int(self.announcement.rpartition(":")[2].split()[0])
                return
        raise RuntimeError("\n".join(self.errors) or "the service does not start")

    def end(self, number=signal.SIGTERM):
        """Sends a signal and gives the exit status."""
        self.process.send_signal(number)  # does nothing once it has ended
        status = self.process.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)
        return status

    def faults(self):
        """Gives what the service complained about, other than requests that are none."""
        return [line for line in self.errors if "Invalid HTTP request" not in line]

    def ask(self, method, path, body=None, headers=None):
        """Gives status, headers and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def post(self, path, body, headers=None):
        """Gives status and JSON."""
        status, _, content = self.ask("POST", path, body, headers)
        return status, json.loads(content)

    def counters(self):
        """Gives the metrics by name with labels."""
        lines = self.ask("GET", "/metrics")[2].decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


@pytest.fixture(scope="session")
def start(network, tmp_path_factory):
    """Starts services, and ends those that still run at the end."""
    with contextlib.ExitStack() as stack:

        def start(*words, model=network):
            process = Process(model, "--port=0", *words, cwd=tmp_path_factory.mktemp("service"))
            stack.callback(process.end, signal.SIGKILL)
            process.wait_until_it_listens()
            return process

        yield start


@pytest.fixture(scope="session")
def service(start):
    return start()
