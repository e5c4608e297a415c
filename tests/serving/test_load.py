"""Many requests at once, and requests that nobody should send."""

import concurrent.futures
import socket

import numpy as np
import pytest

from resnet_jax.inference.classifier import Classifier
from resnet_jax.inference.image_files import prepare_image


def test_no_request_is_lost_under_load(service, trained, photos):
    classifier = Classifier(trained, batch_size=len(photos))
    expected = classifier(np.stack([prepare_image(data, trained.inputs) for data in photos]))
    before = service.counters()

    def ask(number):
        which = number % len(photos)
        if number % 10 == 9:
            return service.ask("POST", "/explain", photos[which])[0], None, which
        status, found = service.post("/predict?top=6", photos[which])
        return status, found, which

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(400)))
    assert {status for status, *_ in answers} == {200}
    for _, found, which in answers:
        if found is not None:
            shares = {row["index"]: row["probability"] for row in found["predictions"]}
            row = [shares[index] for index in range(6)]
            np.testing.assert_allclose(row, expected[which], atol=1e-5)
    after = service.counters()

    def grown(name):
        return after[name] - before.get(name, 0.0)

    assert grown('resnet_jax_requests_total{path="/predict",status="200"}') == 360
    assert grown('resnet_jax_requests_total{path="/explain",status="200"}') == 40
    assert grown("resnet_jax_batch_images_sum") == 360
    assert grown("resnet_jax_batch_images_count") < 360  # some were computed together
    assert after["resnet_jax_in_flight"] == 0


def mutated(rng, data):
    """Changes, repeats or cuts out a few bytes."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        at = int(rng.integers(len(changed)))
        match rng.integers(4):
            case 0:
                changed[at] = int(rng.integers(256))
            case 1:
                del changed[at : at + int(rng.integers(1, 30))]
            case 2:
                changed[at:at] = changed[at : at + 50]
            case _:
                changed[at : at + 4] = rng.bytes(4)
    return bytes(changed) or b"\0"


def test_fuzzed_bodies_are_answered(service, photos):
    rng = np.random.default_rng(7)
    bodies = [mutated(rng, photos[n % len(photos)]) for n in range(300)]
    heads = [data[:12] for data in photos[:5]]
    bodies += [heads[n % 5] + rng.bytes(int(rng.integers(1, 2000))) for n in range(60)]
    bodies += [rng.bytes(int(rng.integers(1, 2000))) for _ in range(40)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        paths = ("/predict", "/explain?index=1")
        answers = pool.map(lambda n: service.ask("POST", paths[n % 2], bodies[n]), range(400))
        statuses = [status for status, *_ in answers]
    assert set(statuses) <= {200, 413, 415}
    assert statuses.count(415) > 100
    assert service.ask("GET", "/healthz")[0] == 200
    assert service.faults() == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\0" * 200,
        b"GET / HTTP/9\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /predict?top=%ff%00 HTTP/1.1\r\nHost: \xff\r\nContent-Length: 1\r\n\r\nx",
    ],
    ids=lambda data: repr(data[:40]),
)
def test_bytes_that_are_no_request_do_no_harm(service, request_bytes):
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        answer = b""
        try:
            connection.sendall(request_bytes)
            answer = connection.recv(1000)
        except ConnectionError:
            pass
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert service.ask("GET", "/healthz")[0] == 200
    assert service.faults() == []
