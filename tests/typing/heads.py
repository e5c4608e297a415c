"""Reads, replaces and leaves out the classifier, which not every network has."""

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_jax import ResNet, create_model


class Head(nnx.Module):
    """A classifier of two layers."""

    def __init__(self, features: int, classes: int, *, rngs: nnx.Rngs) -> None:
        """Builds the layers."""
        self.hidden = nnx.Linear(features, features, rngs=rngs)
        self.last = nnx.Linear(features, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Classifies pooled features."""
        return self.last(nnx.relu(self.hidden(x)))


def classifier_shape(model: ResNet) -> tuple[int, ...] | None:
    """Reads the kernel, if there is a classifier."""
    if isinstance(model.head, nnx.Linear):
        return model.head.kernel.shape
    return None


def main() -> None:
    """Runs each function once."""
    model = create_model("resnet8")
    assert classifier_shape(model) == (64, 10)
    model.head = Head(64, 3, rngs=nnx.Rngs(0))
    logits: jax.Array = model(jnp.ones((1, 32, 32, 3)))
    assert logits.shape == (1, 3)
    assert classifier_shape(create_model("resnet8", num_classes=0)) is None
    model.reset_classifier(0, rngs=nnx.Rngs(1))
    pooled: jax.Array = model.forward_head(jnp.ones((1, 2, 2, 64)), pre_logits=True)
    assert pooled.shape == (1, 64)
