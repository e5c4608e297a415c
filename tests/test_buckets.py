"""Paths in buckets, against servers of S3 and of Cloud Storage."""

import concurrent.futures
import os
import pathlib
import pickle
import threading

import pytest

from resnet_jax import cli
from resnet_jax.buckets import AccessError, BucketError, BucketPath, requests
from resnet_jax.errors import ConfigError
from resnet_jax.local_paths import user_path
from resnet_jax.whole_files import replacing, write_bytes, write_text

pytestmark = pytest.mark.usefixtures("bucket_servers")


def test_paths_are_taken_apart_as_local_ones_are():
    path = user_path("S3://some-bucket//runs/a.b/net.tar.gz/")
    assert (str(path), path.name, path.stem, path.suffix) == (
        "s3://some-bucket/runs/a.b/net.tar.gz",
        "net.tar.gz",
        "net.tar",
        ".gz",
    )
    assert path == user_path(pathlib.Path(str(path))) == pickle.loads(pickle.dumps(path))
    assert str(path.parent.parent / "x/y") == "s3://some-bucket/runs/x/y"
    assert str(path.parent.parent.parent.parent) == "s3://some-bucket"
    assert path.relative_to(user_path("s3://some-bucket/runs")).as_posix() == "a.b/net.tar.gz"
    with pytest.raises(ValueError, match="not"):
        path.relative_to(user_path("gs://some-bucket/runs"))
    with pytest.raises(TypeError):
        os.fspath(path)


@pytest.mark.parametrize("given", ["gs://", "gs:///run", "s3://B!/x", "gs://bucket/a/../../b"])
def test_what_is_not_a_path_in_a_bucket_is_refused(given):
    with pytest.raises(ConfigError, match=r"is not a path in a bucket; write .*://BUCKET/PATH"):
        user_path(given)


def test_objects_are_files(bucket, tmp_path):
    path = bucket / "run" / "a b#c?.txt"
    assert not path.exists()
    with pytest.raises(FileNotFoundError, match="does not exist"):
        path.read_bytes()
    path.unlink(missing_ok=True)
    write_text(path, "grün")
    assert path.read_text() == "grün"
    assert path.is_file()
    assert not path.is_dir()
    assert bucket.is_dir()
    assert (bucket / "run").is_dir()
    assert not (bucket / "ru").exists()
    assert path.read_range(1, 3) == "grün".encode()[1:3]
    path.download(tmp_path / "here")
    assert (tmp_path / "here").read_text() == "grün"
    (tmp_path / "empty").touch()
    (bucket / "run" / "empty").upload(tmp_path / "empty")
    with replacing(bucket / "run" / "deep" / "net.bin") as file:
        file.write_bytes(b"net")
    assert [child.name for child in (bucket / "run").iterdir()] == ["a b#c?.txt", "deep", "empty"]
    found = (bucket / "run").files()
    assert [(str(file.path.relative_to(bucket)), file.size) for file in found] == [
        ("run/a b#c?.txt", 5),
        ("run/deep/net.bin", 3),
        ("run/empty", 0),
    ]
    write_bytes(path, b"other")
    assert path.file().tag not in ("", found[0].tag)
    path.unlink()
    assert not path.exists()
    assert (bucket / "nothing").files() == []
    with pytest.raises(FileNotFoundError):
        list((bucket / "nothing").iterdir())


def test_a_failed_block_uploads_nothing(bucket):
    with pytest.raises(ZeroDivisionError), replacing(bucket / "x") as file:
        file.write_bytes(b"half" * (1 // 0))
    assert not (bucket / "x").exists()


def test_a_failed_download_leaves_nothing(bucket, tmp_path):
    with pytest.raises(FileNotFoundError):
        (bucket / "x").download(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_of_many_that_create_an_object_one_succeeds(bucket):
    def create(number):
        try:
            (bucket / "lock").create(b"%d" % number)
        except FileExistsError:
            return None
        return number

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(create, range(8)) if number is not None]
    assert len(winners) == 1
    assert (bucket / "lock").read_bytes() == b"%d" % winners[0]
    (bucket / "lock").create(b"%d" % winners[0])  # as after an answer that was lost


def test_a_missing_bucket_names_the_command_that_creates_it(bucket):
    path = BucketPath(bucket.scheme, "nowhere", "x")
    with pytest.raises(FileNotFoundError, match=r"no bucket nowhere; create it with `.*nowhere`"):
        path.write_bytes(b"1")


def test_a_busy_service_is_asked_again(bucket, proxy):
    proxy.fault = 503
    threading.Timer(0.5, setattr, (proxy, "fault", None)).start()
    with proxy.counting() as count:
        (bucket / "x").write_bytes(b"1")
    assert count.total() > 1
    assert (bucket / "x").read_bytes() == b"1"


def test_refused_credentials_are_named_with_the_remedy(bucket, proxy):
    proxy.refuse = lambda headers: True
    with pytest.raises(AccessError) as caught:
        (bucket / "x").write_bytes(b"1")
    assert "refused or expired; run `" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--config=digits", "--workdir={}/run"],
        ["eval", "--model={}/run"],
        ["predict", "x.png", "--model={}/net.safetensors"],
        ["report", "{}/run"],
        ["export", "{}/run", "out.onnx"],
    ],
    ids=lambda words: words[0],
)
def test_missing_credentials_are_one_line_with_the_remedy(
    words, bucket, monkeypatch, tmp_path, capfd
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name)
    requests._system.cache_clear()
    with pytest.raises(SystemExit) as caught:
        cli.main([word.format(bucket) for word in words])
    out, err = capfd.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (2, "", 1)
    command = {"gs": "gcloud auth application-default login", "s3": "aws configure"}[bucket.scheme]
    assert f"there are no credentials; run `{command}`" in err
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == []
    requests._system.cache_clear()


def test_a_service_that_cannot_be_reached_is_named(bucket_servers, monkeypatch):
    # Of S3: gcsfs itself goes on for half a minute.
    monkeypatch.setattr(requests, "PATIENCE", 0.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    requests._system.cache_clear()
    with pytest.raises(BucketError, match=r"^s3://bucket/x cannot be reached: "):
        BucketPath("s3", "bucket", "x").read_bytes()
    requests._system.cache_clear()
