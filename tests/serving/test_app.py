"""The application without a server: what real requests bring about too rarely."""

import asyncio
import json
import time

import numpy as np
import pytest

from resnet_jax.serving.app import create_app
from resnet_jax.serving.limits import Limits


class FakeEngine:
    def __init__(self, trained, *, seconds=0.0, fault=None):
        self.trained = trained
        self._seconds = seconds
        self._fault = fault

    def classify(self, images):
        time.sleep(self._seconds)
        if self._fault:
            raise self._fault
        return np.tile(np.arange(6, dtype=np.float32) / 15, (len(images), 1))


async def ask(app, body, *, path="/predict", leave=False, method="POST"):
    """Sends a request as a server does, or half of one, and gives the status and the JSON."""
    messages = [{"type": "http.request", "body": body, "more_body": leave}]
    sent = []

    async def receive():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "scheme": "http",
    }
    await app(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def run(app, use):
    async def main():
        async with app.router.lifespan_context(app):
            return await use()

    return asyncio.run(main())


def test_what_takes_too_long_is_told_and_the_next_one_served(trained, photos):
    engine = FakeEngine(trained, seconds=0.4)
    app = create_app(engine, Limits(request_seconds=0.2))

    async def use():
        slow = await ask(app, photos[0])
        engine._seconds = 0.0
        await asyncio.sleep(0.4)
        return slow, await ask(app, photos[0])

    slow, after = run(app, use)
    assert slow == (503, {"error": "no answer within 0.2 seconds; try again"})
    assert after[0] == 200
    assert after[1]["predictions"][0]["class"] == "fox"
    assert "in_flight 0.0" in app.state.service.metrics.to_text().decode()


def test_a_fault_is_a_status_without_its_text(trained, photos):
    app = create_app(FakeEngine(trained, fault=RuntimeError("secret")), Limits())

    async def use():
        with pytest.raises(RuntimeError, match="secret"):  # for the server's log
            await ask(app, photos[0])

    run(app, use)
    counted = app.state.service.metrics.to_text().decode()
    assert 'resnet_jax_requests_total{path="/predict",status="500"} 1.0' in counted


def test_a_client_that_leaves_early_leaves_no_request(trained, photos):
    app = create_app(FakeEngine(trained), Limits())
    status, _ = run(app, lambda: ask(app, photos[0][:50], leave=True))
    assert status == 400
    assert "in_flight 0.0" in app.state.service.metrics.to_text().decode()


def test_a_service_that_stops_takes_nothing_in(trained, photos):
    app = create_app(FakeEngine(trained), Limits())

    async def use():
        app.state.service.door.is_open = False
        return await ask(app, photos[0])

    assert run(app, use) == (503, {"error": "the service is stopping"})


async def health(app):
    status, found = await ask(app, b"", path="/healthz", method="GET")
    return status, found["status"]


def test_health_is_that_of_the_queue(trained, photos):
    engine = FakeEngine(trained, seconds=1.0)
    app = create_app(engine, Limits(queue=2, request_seconds=1.5))

    async def use():
        found = [await health(app)]
        first = asyncio.create_task(ask(app, photos[0]))
        await asyncio.sleep(0.1)
        found.append(await health(app))
        second = asyncio.create_task(ask(app, photos[0]))
        await asyncio.sleep(0.1)
        found.append(await health(app))
        await asyncio.gather(first, second)
        found.append(await health(app))
        app.state.service.is_stopping = True
        return [*found, await health(app)]

    assert run(app, use) == [
        (200, "ok"),
        (200, "ok"),
        (503, "full"),
        (200, "ok"),
        (503, "stopping"),
    ]


def test_health_tells_of_requests_that_nobody_answers(trained, photos):
    engine = FakeEngine(trained, seconds=1.5)
    app = create_app(engine, Limits(request_seconds=1.0))

    async def use():
        asked = [asyncio.create_task(ask(app, photos[0])) for _ in range(3)]
        await asyncio.sleep(0.8)
        found = await health(app)
        statuses = {status for status, _ in await asyncio.gather(*asked)}
        await asyncio.sleep(0.8)
        return found, statuses, await health(app)

    assert run(app, use) == ((503, "stalled"), {503}, (200, "ok"))
