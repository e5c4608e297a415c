"""Buckets in real servers on this machine, for the tests that read and write them."""

import itertools
import os
from collections.abc import Iterator

import pytest

from benchmarks.bucket_servers import BucketServers, Proxy, missing_servers
from resnet_jax.buckets import BucketPath

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def bucket_servers() -> Iterator[BucketServers]:
    """Servers of S3 and Cloud Storage, which this process and those that it starts find."""
    reason = missing_servers()
    if reason is not None:
        pytest.skip(reason)
    with BucketServers() as servers, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_"))]:
            patch.delenv(name)
        for name, value in servers.environment.items():
            patch.setenv(name, value)
        yield servers


@pytest.fixture(params=["gs", "s3"])
def bucket(request: pytest.FixtureRequest, bucket_servers: BucketServers) -> BucketPath:
    """An empty bucket of each kind."""
    return new_bucket(bucket_servers, request.param)


@pytest.fixture
def proxy(bucket: BucketPath, bucket_servers: BucketServers) -> Iterator[Proxy]:
    """What stands in front of the server of `bucket`."""
    proxy = bucket_servers.proxies[bucket.scheme]
    yield proxy
    proxy.fault, proxy.refuse = None, lambda headers: False


def new_bucket(servers: BucketServers, scheme: str) -> BucketPath:
    """Creates an empty bucket."""
    name = f"bucket-{next(_NUMBERS)}"
    servers.create_bucket(scheme, name)
    return BucketPath.parse(f"{scheme}://{name}")
