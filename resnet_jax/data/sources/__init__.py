"""Sources: labelled images from folders, archives, TFDS, Hugging Face and scikit-learn."""

from resnet_jax.data.images.record import Record
from resnet_jax.data.sources.by_name import load_split, open_split
from resnet_jax.data.sources.examples import Example, InMemorySource, Source

__all__ = ["Example", "InMemorySource", "Record", "Source", "load_split", "open_split"]
