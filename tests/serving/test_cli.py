import importlib.util
import socket

import pytest

from resnet_jax import cli


def error(capsys, *words):
    with pytest.raises(SystemExit) as caught:
        cli.main(["serve", *map(str, words)])
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "'nowhere' is neither the folder of a run nor a file nor a network"),
        (["--queue=0"], "queue=0: give 1 or more"),
        (["--batch-size=-1"], "batch_size=-1: give 1 or more"),
        (["--max-mib=nan"], "--max-mib=nan: give a number above 0"),
        (["--max-megapixels=0"], "--max-megapixels=0: give a number above 0"),
        (["--timeout=0"], "request_seconds=0.0: give a number above 0"),
        (["--wait-ms=-1"], "wait_seconds=-0.001"),
        (["--port=99999"], "port=99999: give 0 to 65535"),
        (["--port=-1"], "port=-1: give 0 to 65535"),
        (["--host=256.0.0.1"], "cannot listen on 256.0.0.1 port 0"),
        (["--inputs.size=none"], "takes images of any size: choose one with --inputs.size=N"),
    ],
)
def test_an_error_that_the_user_can_fix_is_one_line(network, capsys, words, message):
    model = [] if words == ["nowhere"] else [network]
    port = [] if "port" in words[0] else ["--port=0"]
    assert message in error(capsys, *model, *port, *words)


def test_a_port_that_is_taken_is_told_before_the_network_is_loaded(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        message = error(capsys, "no-such-network", f"--port={port}")
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in message


def test_without_the_extra_the_remedy_is_named(network, capsys, monkeypatch):
    known = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "uvicorn" else known(name)
    )
    message = error(capsys, network)
    assert "serve needs uvicorn: install them with pip install 'resnet-jax[serve]'" in message
