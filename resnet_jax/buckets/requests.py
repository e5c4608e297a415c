"""Requests to the services of buckets: repeated while they are busy, and explained if they fail."""

from __future__ import annotations

import functools
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from resnet_jax.errors import shown

PATIENCE = 120.0
"""Seconds for which a request is repeated while the service is busy or cannot be reached."""

_LOGIN = {
    "gs": "run `gcloud auth application-default login`",
    "s3": "run `aws configure` or `aws sso login`",
}
_CREATE = {"gs": "gcloud storage buckets create gs://{}", "s3": "aws s3 mb s3://{}"}
_LONGEST_WAIT = 8.0
_NOT_FOUND = 404
_BUSY = {408, 409, 429, 500, 502, 503, 504}
_REFUSED = {401, 403}
# AWS answers 400 for these.
_REFUSED_CODES = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "ExpiredTokenException"}
# Errors of several libraries, which are not imported for their names.
_NO_CREDENTIALS = {
    "CredentialRetrievalError",
    "DefaultCredentialsError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "SSOTokenLoadError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
}
_REFUSALS = {"PermissionError", "RefreshError"}
_UNREACHABLE = {
    "ChecksumError",
    "ClientError",  # of aiohttp; one of botocore has a status
    "ConnectionError",
    "HTTPClientError",
    "IncompleteRead",
    "RequestException",
    "TimeoutError",
    "TransportError",
}

T = TypeVar("T")


class BucketError(OSError):
    """A bucket cannot be read or written; the message is one line."""


class AccessError(BucketError):
    """A bucket refuses the credentials, or there are none; the message has the remedy."""


def ask(scheme: str, address: str, action: Callable[[Any], T], *, writing: bool = False) -> T:
    """Carries out a request, again and again while the service is busy.

    Args:
        scheme: `gs` or `s3`.
        address: What the request is about, for messages.
        action: Makes the request, of a file system of fsspec.
        writing: Whether it writes, so that only a missing bucket can be what is missing.

    Raises:
        FileNotFoundError: The object or the bucket does not exist.
        FileExistsError: The object exists, and the request was to create it.
        AccessError: There are no credentials, or they are refused.
        BucketError: The service has been busy or unreachable for `PATIENCE` seconds, or the request
            cannot succeed.
    """
    give_up = time.monotonic() + PATIENCE
    wait = 0.25
    while True:
        try:
            return action(_system(scheme))
        except FileNotFoundError as error:
            raise FileNotFoundError(_missing(scheme, address, writing=writing)) from error
        except FileExistsError as error:
            raise FileExistsError(f"{address} exists") from error
        except Exception as error:
            if _answer(error)[0] == _NOT_FOUND:  # which gcsfs has not always translated
                raise FileNotFoundError(_missing(scheme, address, writing=writing)) from error
            fault = _fault(scheme, address, error)
            if isinstance(fault, AccessError):
                _system.cache_clear()  # the next request looks for credentials again
            if fault is not None:
                raise fault from error
            if time.monotonic() + wait > give_up:
                raise BucketError(f"{address} cannot be reached: {_in_one_line(error)}") from error
        time.sleep(wait * random.uniform(0.75, 1.25))
        wait = min(2 * wait, _LONGEST_WAIT)


def _missing(scheme: str, address: str, *, writing: bool) -> str:
    if not writing:
        return f"{address} does not exist"
    bucket = address.split("/")[2]
    command = _CREATE[scheme].format(bucket)
    return f"{address}: there is no bucket {bucket}; create it with `{command}`"


def _fault(scheme: str, address: str, error: Exception) -> BucketError | None:
    """Says what is wrong with a request; None if it may succeed when it is repeated."""
    names = {kind.__name__ for link in _chain(error) for kind in type(link).__mro__}
    reason = _in_one_line(error)
    if names & _NO_CREDENTIALS:
        return AccessError(f"{address}: there are no credentials; {_LOGIN[scheme]} ({reason})")
    status, code = _answer(error)
    refused = status in _REFUSED or code in _REFUSED_CODES or names & _REFUSALS
    if refused or "Forbidden: " in str(error):  # gcsfs raises an OSError without a status
        return AccessError(
            f"{address}: the credentials are refused or expired; {_LOGIN[scheme]}, or ask for "
            f"access to the bucket ({reason})"
        )
    if status in _BUSY or (status is None and names & _UNREACHABLE):
        return None
    return BucketError(f"{address}: {reason}")


@functools.cache
def _system(scheme: str) -> Any:
    """Opens the file system of a scheme, once per process."""
    # They log the traceback of every error that they also raise.
    for name in ("gcsfs", "s3fs", "fsspec", "google.auth"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    common = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme == "gs":
        # Not through `fsspec.filesystem`, which asks for the layout of a bucket at first.
        from gcsfs.core import GCSFileSystem

        # Without "google_default", gcsfs goes on without credentials if it finds none.
        token = "anon" if os.environ.get("STORAGE_EMULATOR_HOST") else "google_default"
        return GCSFileSystem(token=token, **common)
    from s3fs import S3FileSystem

    system = S3FileSystem(config_kwargs={"retries": {"total_max_attempts": 1}}, **common)
    system.retries = 1  # `_ask` repeats requests, and knows for how long
    return system


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _answer(error: BaseException) -> tuple[int | None, str | None]:
    """Returns the HTTP status and the code of a service's answer, as far as an error has them."""
    return next(filter(any, map(_answer_in, _chain(error))), (None, None))


def _answer_in(error: BaseException) -> tuple[int | None, str | None]:
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # of botocore
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status, response.get("Error", {}).get("Code")
    # Of aiohttp, whose older versions warn of `code`; and of gcsfs.
    status = str(getattr(error, "status", None) or getattr(error, "code", None))
    return (int(status), None) if status.isdigit() else (None, None)


def _in_one_line(error: Exception) -> str:
    return shown(" ".join(f"{type(error).__name__}: {error}".split()), most=160)
