"""What networks are measured on, and what their convolutions have to compute and to move."""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Case:
    """A network at work."""

    model: str
    size: int
    batch: int
    classes: int

    @property
    def images(self) -> tuple[int, int, int, int]:
        """The shape of a batch, NHWC."""
        return (self.batch, self.size, self.size, 3)

    def random_images(self) -> np.ndarray:
        """Returns a batch as if it were normalised, float32."""
        import numpy as np

        return np.random.default_rng(0).standard_normal(self.images, np.float32)


CPU_CASES = (
    Case("resnet18", 224, 16, 1000),
    Case("resnet50", 224, 16, 1000),
    Case("resnet20", 32, 128, 10),
)
GPU_CASES = (Case("resnet50", 224, 256, 1000),)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A shape of convolution: a square kernel on square images."""

    batch: int
    size: int
    in_features: int
    features: int
    kernel: int
    stride: int

    @property
    def out_size(self) -> int:
        """Height and width of what comes out."""
        return -(-self.size // self.stride)

    @property
    def operations(self) -> float:
        """FLOPs of each direction: two for each multiply-add, padding included."""
        taps = self.kernel**2 * self.in_features * self.features
        return 2.0 * self.batch * self.out_size**2 * taps

    def __str__(self) -> str:
        stride = f", stride {self.stride}" if self.stride > 1 else ""
        what = f"{self.kernel}x{self.kernel}, {self.in_features} to {self.features}"
        return f"{what}, {self.size} px{stride}"


def layers(case: Case) -> list[tuple[Layer, int]]:
    """Returns the shapes of convolution in a network, from the input on, and how many have each."""
    import jax
    from flax import nnx

    from resnet_jax.weights.leaves import skeleton
    from resnet_jax.zoo import model_config

    found: list[Layer] = []

    def note(inputs: Any, kernel: Any, strides: Any, padding: Any, **settings: Any) -> Any:
        batch, size, _, in_features = inputs.shape
        found.append(Layer(batch, size, in_features, kernel.shape[3], len(kernel), strides[0]))
        return jax.lax.conv_general_dilated(inputs, kernel, strides, padding, **settings)

    model = skeleton(model_config(case.model, num_classes=case.classes))
    for _, module in nnx.iter_graph(model):
        if isinstance(module, nnx.Conv):
            module.conv_general_dilated = note
    graphdef, state = nnx.split(model)
    images = jax.ShapeDtypeStruct(case.images, "float32")
    jax.eval_shape(lambda state, images: nnx.merge(graphdef, state)(images), state, images)
    return list(collections.Counter(found).items())


def operations(case: Case, *, training: bool) -> float:
    """Returns the FLOPs of an image, two for each multiply-add of the convolutions as defined.

    Winograd's form does with fewer. A training step has each convolution and both its gradients.
    """
    from resnet_jax.zoo import model_config
    from resnet_jax.zoo.costs import cost

    forward = 2.0 * cost(model_config(case.model), case.size).multiply_adds
    return 3 * forward if training else forward


def numbers_moved(case: Case, *, training: bool) -> float:
    """Returns the numbers of an image that go from or to memory, at the least.

    On the way forward each convolution reads its inputs and writes its outputs. In training both
    gradients read inputs and the outputs' gradient together and write the inputs' gradient; before
    that, the norm behind the convolution sums up its outputs and their gradient. Norms, activations
    and sums are thought to happen on the way, and parameters to be few.
    """
    total = 0
    for number, (layer, count) in enumerate(layers(case)):
        inputs = min(layer.size, layer.kernel * layer.out_size) ** 2 * layer.in_features
        outputs = layer.out_size**2 * layer.features
        of_inputs = 3 if number else 2  # nobody wants the images' gradient
        total += count * (of_inputs * inputs + 4 * outputs if training else inputs + outputs)
    return float(total)
