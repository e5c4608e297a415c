"""Connections that take room and time, next to honest requests; the service runs as a process."""

import contextlib
import resource
import socket
import time

import pytest

from resnet_jax import cli
from resnet_jax.errors import ConfigError
from resnet_jax.serving.connections.registry import check_open_files
from resnet_jax.serving.limits import Limits

HALF_A_HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nx"
HALF_A_BODY = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc"
ROUNDS = 600  # of 50 ms, until something has to have happened


@pytest.fixture(scope="module")
def small(start):
    """A service with room for few connections."""
    flags = ("--connections=16", "--connections-per-address=12", "--head-timeout=1", "--timeout=4")
    return start(*flags)


@pytest.fixture
def connect(small):
    """Opens connections, and closes them at the end."""
    with contextlib.ExitStack() as stack:

        def connect(content, *, source="127.0.0.1"):
            connection = socket.create_connection(
                ("127.0.0.1", small.port), timeout=30, source_address=(source, 0)
            )
            stack.enter_context(connection)
            with contextlib.suppress(ConnectionError):
                connection.sendall(content)
            return connection

        yield connect


def is_closed(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1000) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def wait_for(condition):
    for _ in range(ROUNDS):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def test_stalled_heads_make_room_for_honest_requests(small, connect, photos):
    stalled = [connect(HALF_A_HEAD) for _ in range(40)]
    for photo in photos:
        assert small.post("/predict", photo)[0] == 200
    wait_for(lambda: sum(map(is_closed, stalled)) >= 28)  # all but those that there is room for
    assert small.faults() == []


def test_a_head_has_to_come_in_time_however_its_bytes_are_spread(connect):
    connection = connect(HALF_A_HEAD)

    def is_closed_after_a_byte():
        with contextlib.suppress(BlockingIOError, ConnectionError):
            connection.send(b"a")
        return is_closed(connection)

    wait_for(is_closed_after_a_byte)


@pytest.mark.parametrize("content", [b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_connection_without_a_request_ends(connect, content):
    connection = connect(content)
    connection.settimeout(60)
    while connection.recv(10_000):
        pass


def test_a_client_that_does_not_read_is_dropped(small, connect):
    connection = connect(b"")
    ask = b"GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
    connection.setblocking(False)

    def is_dropped():
        try:
            connection.send(ask)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        return False

    wait_for(is_dropped)
    assert small.ask("GET", "/healthz")[0] == 200


def test_where_all_connections_are_busy_a_further_one_is_told(connect):
    busy = [connect(HALF_A_BODY) for _ in range(12)]
    wait_for(lambda: in_flight(connect) == 12)
    answer = b""
    with contextlib.suppress(ConnectionError):
        answer = connect(b"").recv(1000)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b'{"error":"too many connections; try again"}')
    # The limit of one address leaves room for others.
    ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert connect(ask, source="127.0.0.2").recv(1000).startswith(b"HTTP/1.1 200 ")
    for connection in busy:
        connection.close()
    wait_for(lambda: in_flight(connect) == 0)


def in_flight(connect):
    """From another address, since this one may have no connections left."""
    ask = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with connect(ask, source="127.0.0.2") as connection:
        answer = b""
        while chunk := connection.recv(10_000):
            answer += chunk
    return float(answer.partition(b"\nresnet_jax_in_flight ")[2].split()[0])


def test_the_system_has_to_allow_as_many_open_files(monkeypatch, network, capsys):
    kept = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: kept.append(pair))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    check_open_files(Limits(connections=512))
    assert kept == [(640, 4096)]
    check_open_files(Limits(connections=100))
    assert len(kept) == 1
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 600))
    message = r"connections=512: that takes 640 open .* may open 600 .*: give --connections=472"
    with pytest.raises(ConfigError, match=message):
        check_open_files(Limits(connections=512))
    with pytest.raises(SystemExit):
        cli.main(["serve", str(network), "--port=0"])
    assert capsys.readouterr().err.count("\n") == 1
