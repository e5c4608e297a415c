"""Published weights from the Hugging Face hub, kept in that library's cache."""

import contextlib
import pathlib
from collections.abc import Iterator

from resnet_jax.weights.errors import WeightsError

_FILE = "model.safetensors"


def fetch(repository: str) -> pathlib.Path:
    """Returns the weights of a repository such as `timm/resnet50.a1_in1k`, downloaded if need be.

    A cached file is taken as it is, without a look at the network: published weights stay.

    Raises:
        WeightsError: There are no such weights, or they are not cached and the hub cannot be
            reached.
    """
    # Here, because networks without published weights have no need of a network library.
    import huggingface_hub
    from huggingface_hub import errors

    try:
        return pathlib.Path(
            huggingface_hub.hf_hub_download(repository, _FILE, local_files_only=True)
        )
    except errors.LocalEntryNotFoundError:
        pass
    try:
        with _quiet():
            return pathlib.Path(huggingface_hub.hf_hub_download(repository, _FILE))
    except errors.RepositoryNotFoundError:
        raise WeightsError(
            f"the Hugging Face hub has no repository {repository}; pretrained=True takes the usual "
            f"weights of a network."
        ) from None
    except (OSError, errors.HTTPError):  # type: ignore[attr-defined]  # of its HTTP library
        raise WeightsError(
            f"{repository} is not cached and the Hugging Face hub cannot be reached: run "
            f"`hf download {repository} {_FILE}` where there is a network, copy the file here and "
            f"name it (pretrained=PATH in Python, --weights=PATH on the command line), or set "
            f"HF_HOME to the cache that it went to."
        ) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the library from telling of each of its attempts: what comes of them is told once."""
    from huggingface_hub.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
