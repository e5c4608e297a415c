"""Hosts, origins, HEAD and forms, asked of a service that runs."""

import contextlib
import http.client
import json
import signal
import time

import pytest

FORM = {"content-type": "multipart/form-data; boundary=XX"}
APP = "https://app.example"


@pytest.fixture(scope="module")
def open_service(start):
    """A service that another host and another site may use."""
    return start("--allowed-host=Photos.example", f"--allowed-origin={APP}/", "--decoders=1")


@pytest.mark.parametrize("path", ["/", "/page.js", "/healthz", "/model", "/nothing"])
def test_head_is_get_without_a_body(service, path):
    status, headers, content = service.ask("GET", path)
    found, without, nothing = service.ask("HEAD", path)
    assert (found, nothing) == (status, b"")
    for name in ("content-type", "content-security-policy"):
        assert without[name] == headers[name]
    if path != "/healthz":  # whose numbers change
        assert without["content-length"] == str(len(content))


def test_head_asks_for_no_prediction(service):
    assert service.ask("HEAD", "/predict")[0] == 405


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.9:8000", "[::1]", "[::1]:8000"],
)
def test_names_of_the_loopback_interface_are_answered(service, host):
    assert service.ask("GET", "/healthz", headers={"host": host})[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "10.0.0.1", "", "[x", "x" * 999]
)
def test_other_hosts_are_not(service, open_service, host):
    for method, path in (("GET", "/"), ("POST", "/predict"), ("GET", "/model")):
        for which in (service, open_service):
            status, _, content = which.ask(method, path, headers={"host": host})
            assert status == 421
            message = json.loads(content)["error"]
            assert "--allowed-host=NAME" in message
            assert len(message) < 250


def test_unless_they_are_allowed(open_service):
    for host in ("photos.example", "photos.example:443", "localhost"):
        assert open_service.ask("GET", "/", headers={"host": host})[0] == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "http://["]
)
def test_pages_of_other_sites_may_not_post(service, open_service, photos, origin):
    for which in (service, open_service):
        status, found = which.post("/predict", photos[0], {"origin": origin})
        assert status == 403
        assert "--allowed-origin=ORIGIN" in found["error"]
        assert which.ask("GET", "/model", headers={"origin": origin})[0] == 200


def test_the_page_of_the_service_may(service, photos):
    for scheme, port in (("http", ":80"), ("https", ":443"), ("https", "")):
        headers = {"host": "localhost" + port, "origin": f"{scheme}://localhost"}
        assert service.post("/predict", photos[0], headers)[0] == 200
    host = f"127.0.0.1:{service.port}"
    headers = {"host": host, "origin": f"http://{host}"}
    assert service.post("/predict", photos[0], headers)[0] == 200


def test_so_may_a_site_that_is_allowed(open_service, service, photos):
    headers = {"origin": APP, "access-control-request-method": "POST"}
    headers["access-control-request-headers"] = "content-type"
    status, found, _ = open_service.ask("OPTIONS", "/predict", headers=headers)
    assert (status, found["access-control-allow-origin"]) == (200, APP)
    status, found, _ = open_service.ask("POST", "/explain", photos[0], {"origin": APP})
    assert (status, found["access-control-allow-origin"]) == (200, APP)
    assert found["access-control-expose-headers"] == "x-class-index"
    assert service.ask("OPTIONS", "/predict", headers=headers)[0] == 405


def test_a_form_is_read_as_a_body_is(service, photos):
    head = b'--XX\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    form = head + photos[0] + b"\r\n--XX--\r\n"
    assert service.post("/predict", form, FORM) == service.post("/predict", photos[0])
    status, found = service.post("/predict", head + b"text\r\n--XX--\r\n", FORM)
    assert status == 415
    for way in ("curl --data-binary @FILE", "curl -F file=@FILE"):
        assert way in found["error"]
        assert way in service.post("/predict", b"text")[1]["error"]


@pytest.mark.slow
def test_the_last_response_says_that_the_connection_closes(start, photos):
    service = start("--batch-size=1")
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", "/predict", photos[0])
        with connection.getresponse() as answer:
            assert (answer.status, answer.headers["connection"]) == (200, None)
            answer.read()
        connection.putrequest("POST", "/predict")
        connection.putheader("content-length", len(photos[0]))
        connection.endheaders(photos[0][:-5])
        while service.counters()["resnet_jax_in_flight"] < 1:
            time.sleep(0.01)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.send(photos[0][-5:])
        with connection.getresponse() as answer:
            assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert service.end() == 0
