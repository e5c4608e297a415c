"""Published weights from the Hugging Face hub, kept in that library's cache."""

import pathlib

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
            f"pass pretrained=PATH, or set HF_HOME to the cache that it went to."
        ) from None
