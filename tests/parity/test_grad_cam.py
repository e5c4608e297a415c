import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_jax import model_config
from resnet_jax.inference.explain import grad_cam
from resnet_jax.models import ResNet
from resnet_jax.weights import load_torch

# timm's name, and the modules whose outputs are the maps of stage 3 and of the last stage.
NETWORKS = [("resnet18", "layer3", "layer4"), ("resnetv2_18", "stages.2", "norm")]


def torch_cam(torch, network, layer, images, classes):
    """Grad-CAM with hooks, an image at a time."""
    kept = {}

    def keep(module, inputs, output):
        output.retain_grad()
        kept["map"] = output

    handle = network.get_submodule(layer).register_forward_hook(keep)
    cams = []
    for image, index in zip(images, classes, strict=True):
        network(torch.from_numpy(image[None]))[0, index].backward()
        weights = kept["map"].grad.mean((2, 3), keepdim=True)
        cams.append((weights * kept["map"]).sum(1).relu().detach().numpy()[0])
    handle.remove()
    return np.stack(cams)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "third", "last"), NETWORKS)
def test_grad_cam_is_that_of_pytorch(torch, timm, name, third, last):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=10)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    network.eval()
    model = nnx.eval_shape(lambda: ResNet(model_config(name, num_classes=10), rngs=nnx.Rngs(0)))
    load_torch(model, network.state_dict())
    model.eval()
    graphdef, state = nnx.split(model)

    @functools.partial(jax.jit, static_argnums=2)
    def explain(state, images, stage):
        return grad_cam(nnx.merge(graphdef, state), images, jnp.array(classes), stage=stage)

    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    classes = np.array([3, 7])
    for stage, layer in ((3, third), (-1, last)):
        expected = torch_cam(torch, network, layer, images.transpose(0, 3, 1, 2), classes)
        cam, _ = explain(state, images, stage)
        np.testing.assert_allclose(cam, expected, atol=1e-4 * expected.max())
        assert expected.max() > 0
