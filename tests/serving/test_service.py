"""A service as a process of its own, asked over the loopback."""

import contextlib
import io
import json
import signal
import socket
import time

import numpy as np
import pytest
from PIL import Image

from resnet_jax.inference.classifier import Classifier
from resnet_jax.inference.explain import Explainer, overlay
from resnet_jax.inference.image_files import prepare_image
from tests.serving.conftest import NAMES


def test_predictions_are_those_of_the_network(service, trained, photos):
    classifier = Classifier(trained, batch_size=1)
    for data in photos[:5]:
        status, found = service.post("/predict?top=6", data)
        assert status == 200
        expected = classifier(prepare_image(data, trained.inputs)[None])[0]
        rows = found["predictions"]
        assert [row["index"] for row in rows] == np.argsort(-expected, kind="stable").tolist()
        assert [row["class"] for row in rows] == [NAMES[row["index"]] for row in rows]
        shares = [row["probability"] for row in rows]
        np.testing.assert_allclose(shares, -np.sort(-expected), atol=2e-6)
    assert len(service.post("/predict", photos[0])[1]["predictions"]) == 5


@pytest.mark.slow
@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_a_network_is_served_from_a_bucket(bucket, network, start, service, photos):
    (bucket / network.name).upload(network)
    served = start(model=bucket / network.name)
    assert served.post("/predict", photos[0]) == service.post("/predict", photos[0])


def test_explanations_are_overlays(service, trained, photos):
    pixels = prepare_image(photos[1], trained.inputs)
    status, headers, content = service.ask("POST", "/explain?index=2", photos[1])
    assert (status, headers["content-type"], headers["x-class-index"]) == (200, "image/png", "2")
    cam, _, probabilities = Explainer(trained)(pixels, 2)
    found = np.asarray(Image.open(io.BytesIO(content)), np.int16)
    assert np.abs(found - np.asarray(overlay(pixels, cam), np.int16)).max() <= 1
    _, headers, _ = service.ask("POST", "/explain", photos[1])
    assert headers["x-class-index"] == str(probabilities.argmax())


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("POST", "/predict", b"no photo", 415, "this is not an image"),
        ("POST", "/explain", b"\xff\xd8\xff no photo", 415, "the file"),
        ("POST", "/predict", b"", 400, "the body is empty"),
        ("POST", "/predict?top=0", b"x", 422, "top='0': Input should be greater than"),
        ("POST", "/predict?top=" + 5000 * "9", b"x", 422, "top='9999"),
        ("POST", "/explain?index=6", b"x", 422, "index=6: give 0 to 5"),
        ("POST", "/explain?index=-1", b"x", 422, "index=-1: give 0 to 5"),
        ("GET", "/predict", None, 405, "Method Not Allowed"),
        ("GET", "/nothing/../else", None, 404, "Not Found"),
    ],
)
def test_what_cannot_be_served_has_a_reason(service, method, path, body, status, reason):
    found, headers, content = service.ask(method, path, body)
    assert found == status
    assert headers["content-type"] == "application/json"
    message = json.loads(content)
    assert list(message) == ["error"]
    assert reason in message["error"]
    assert len(message["error"]) < 200


def test_facts(service):
    assert service.post("/healthz", b"")[0] == 405
    status, _, content = service.ask("GET", "/healthz")
    assert (status, json.loads(content)["status"]) == (200, "ok")
    model = json.loads(service.ask("GET", "/model")[2])
    assert model["model"] == "tiny.safetensors"
    assert model["classes"] == list(NAMES)
    assert model["size"] == 16
    status, headers, content = service.ask("GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=")
    assert b"# TYPE resnet_jax_requests_total counter" in content
    assert service.counters()["resnet_jax_in_flight"] == 0


def test_the_page_takes_nothing_from_elsewhere(service):
    for path, kind in (("/", "html"), ("/page.css", "css"), ("/page.js", "javascript")):
        status, headers, content = service.ask("GET", path)
        assert status == 200
        assert headers["content-type"] == f"text/{kind}; charset=utf-8"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert b"http://" not in content
        assert b"https://" not in content


def test_it_listens_on_the_loopback_alone(service):
    assert service.announcement.startswith("serving ")
    assert f"http://127.0.0.1:{service.port}" in service.announcement
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", service.port), timeout=5)


@pytest.fixture(scope="module")
def narrow(start):
    """A service that accepts little."""
    return start("--max-mib=0.02", "--max-megapixels=0.001", "--queue=2", "--timeout=5")


def test_bodies_and_photos_have_limits(narrow, photos):
    begun = time.perf_counter()
    large = b"\xff\xd8\xff" + bytes(40_000)
    assert narrow.post("/predict", large)[0] == 413
    status, found = narrow.post("/predict", iter([large[:15_000], large[15_000:]]))
    assert (status, found["error"]) == (413, "the body has more than 20971 bytes, the limit")
    assert narrow.post("/predict", bytes(20_971))[0] == 415
    assert time.perf_counter() - begun < 9  # nothing waits for more of a body than there is
    # One without an end is cut off, whether or not the client reads the answer.
    with contextlib.suppress(OSError):
        assert narrow.post("/predict", (bytes(50_000) for _ in range(500)))[0] == 413
    assert narrow.post("/predict", photos[0])[0] == 200
    status, found = narrow.post("/predict", photos[15])
    assert status == 413
    assert "the image has 30 x 35 pixels" in found["error"]


def half_a_request(service):
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=30)
    connection.sendall(
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc"
    )
    return connection


def test_the_queue_is_bounded_and_slow_bodies_are_given_up(narrow, photos):
    waiting = [half_a_request(narrow) for _ in range(2)]
    deadline = time.monotonic() + 5
    while narrow.counters()["resnet_jax_in_flight"] < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    status, headers, content = narrow.ask("POST", "/predict", photos[0])
    assert status == 429
    assert headers["retry-after"] == "1"
    assert "2 requests are already waiting" in json.loads(content)["error"]
    for connection in waiting:
        answer = connection.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 408 ")
        connection.close()
    assert narrow.post("/predict", photos[0])[0] == 200
    assert narrow.counters()["resnet_jax_in_flight"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_waits_for_what_was_taken_in(start, photos, number):
    service = start("--batch-size=1")
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        head = (
            f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photos[0])}\r\n\r\n"
        )
        connection.sendall(head.encode() + photos[0][:20])
        while service.counters()["resnet_jax_in_flight"] < 1:
            time.sleep(0.01)
        service.process.send_signal(number)
        time.sleep(0.3)
        connection.sendall(photos[0][20:])
        answer = b""
        while chunk := connection.recv(10_000):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"predictions" in answer
    assert service.end() == 0
    assert service.errors == []
