"""Published weights from the Hugging Face hub, kept in its cache."""

import contextlib
import pathlib
from collections.abc import Iterator

from resnet_jax.weights.errors import UnavailableWeightsError, WeightsError

_FILE = "model.safetensors"


def fetch(repository: str) -> pathlib.Path:
    """Returns the weights of a repository such as `timm/resnet50.a1_in1k`, downloaded if necessary.

    A cached file is used without contacting the hub: published weights do not change.

    Raises:
        WeightsError: The hub does not have these weights.
        UnavailableWeightsError: They are not cached and the hub cannot be reached.
    """
    # Imported here: networks without published weights do not need it.
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
            f"the Hugging Face hub has no repository {repository}; pretrained=True takes the "
            f"default weights of a network."
        ) from None
    except (OSError, errors.HTTPError):  # type: ignore[attr-defined]  # of its HTTP library
        raise UnavailableWeightsError(
            f"{repository} is not cached and the Hugging Face hub cannot be reached: run "
            f"`hf download {repository} {_FILE}` on a machine that is online, copy the file here "
            "and pass its path as {file}, or set HF_HOME to the cache that holds it."
        ) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the warnings about each attempt; the final error says what went wrong."""
    from huggingface_hub.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
