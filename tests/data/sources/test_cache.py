import multiprocessing
import os

import pytest

from resnet_jax.data.sources.files import FileCache


def fetched(content, calls):
    def fetch():
        calls.append(content)
        return content

    return fetch


def kept(folder):
    return list((folder / "contents").glob("*"))


def kept_bytes(folder):
    return sum(file.stat().st_size for file in kept(folder))


def test_what_is_kept_is_not_fetched_again(tmp_path):
    calls = []
    for _ in range(2):
        cache = FileCache(tmp_path, limit=1000)
        assert cache.get("a/1", fetched(b"one", calls)) == b"one"
        assert cache.get("a/2", fetched(b"two", calls)) == b"two"
    assert calls == [b"one", b"two"]


def test_the_folder_stays_below_its_limit_and_keeps_what_is_used(tmp_path):
    cache, calls = FileCache(tmp_path, limit=10_000), []
    for number in range(100):
        cache.get(str(number), fetched(bytes(1000), calls))
        for file in kept(tmp_path):  # a clock of the file system may be coarse
            os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns - 10**9))
        cache.get("0", fetched(bytes(1000), calls))
        assert kept_bytes(tmp_path) <= 10_000
    assert len(calls) == 100
    assert len(kept(tmp_path)) >= 8


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path):
    calls = []
    for _ in range(2):
        FileCache(tmp_path, limit=10).get("a", fetched(bytes(11), calls))
    assert len(calls) == 2
    assert not kept_bytes(tmp_path)


def test_a_fetch_that_fails_keeps_nothing(tmp_path):
    def fail():
        raise ConnectionError

    cache, calls = FileCache(tmp_path, limit=1000), []
    with pytest.raises(ConnectionError):
        cache.get("a", fail)
    assert cache.get("a", fetched(b"one", calls)) == b"one"


def test_where_nothing_can_be_written_it_fetches(tmp_path):
    (tmp_path / "file").touch()
    cache, calls = FileCache(tmp_path / "file", limit=1000), []
    assert [cache.get("a", fetched(b"one", calls)) for _ in range(2)] == [b"one", b"one"]


def _fill(folder, start):
    cache = FileCache(folder, limit=20_000)
    for number in range(300):
        key = str((start + number) % 400)
        assert cache.get(key, lambda key=key: key.encode() * 100) == key.encode() * 100


def test_processes_share_it(tmp_path):
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=_fill, args=(tmp_path, 100 * i)) for i in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert kept_bytes(tmp_path) <= 20_000
    assert not [file for file in kept(tmp_path) if file.suffix == ".part"]
