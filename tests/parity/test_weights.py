"""Weights of PyTorch's networks: loaded, computed with, and given back."""

import io
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from resnet_jax import BasicBlock, create_model, model_config
from resnet_jax.weights import WeightsError, load_torch, to_torch
from resnet_jax.weights.arrays import adapt_input
from resnet_jax.weights.files import read_state_dict
from resnet_jax.weights.leaves import skeleton

PUBLISHED = {"resnet20": "resnet20-12fca82f.th", "resnet32": "resnet32-d509ac18.th"}


def randomise(torch, module):
    """Makes norms and their statistics as uneven as those of a trained network."""
    generator = torch.Generator().manual_seed(0)
    for key, value in module.state_dict().items():
        if key.endswith("running_mean") or (value.ndim == 1 and key.endswith("bias")):
            value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
        elif value.ndim == 1:
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return module.eval()


def logits_of(module, x):
    module.eval()
    return np.asarray(jax.jit(lambda x: module(x))(x))


def relative_error(ours, theirs):
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.fixture
def build(request, torch):
    """Builds a network of a peer with random weights and statistics."""

    def build_one(peer, name):
        torch.manual_seed(0)
        if peer == "torchvision":
            module = getattr(request.getfixturevalue("torchvision").models, name)()
        elif peer == "timm":
            module = request.getfixturevalue("timm").create_model(name)
        else:
            request.getfixturevalue("timm")
            transformers = pytest.importorskip("transformers", reason="it is not installed")
            kind = {"resnet18": "basic", "resnet50": "bottleneck"}[name]
            config = transformers.ResNetConfig(
                depths=[3, 4, 6, 3] if kind == "bottleneck" else [2, 2, 2, 2],
                hidden_sizes=list(model_config(name).widths),
                layer_type=kind,
                num_labels=1000,
            )
            module = transformers.ResNetForImageClassification(config)
        return randomise(torch, module)

    return build_one


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("torchvision", "resnet18"),
        ("torchvision", "resnet50"),
        ("timm", "resnet18"),
        ("timm", "resnet50"),
        ("timm", "resnetv2_18"),
        ("transformers", "resnet18"),
        ("transformers", "resnet50"),
    ],
)
def test_logits_are_equal_and_weights_come_back_alike(peer, name, build, torch):
    theirs = build(peer, name)
    state_dict = theirs.state_dict()
    ours = skeleton(model_config(name))
    load_torch(ours, state_dict)

    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x).permute(0, 3, 1, 2))
    expected = getattr(expected, "logits", expected).numpy()
    assert relative_error(logits_of(ours, x), expected) < 1e-4

    if peer == "transformers":
        return
    back = {key: torch.from_numpy(np.array(value)) for key, value in to_torch(ours).items()}
    for key, value in state_dict.items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(back[key], value), key
    theirs.load_state_dict(back, strict=True)


def reference(torch, weights, images):
    """The forward pass of the published CIFAR networks, from their state dict."""
    functional = torch.nn.functional

    def norm(x, name):
        parts = [weights[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *parts)

    x = torch.relu(norm(functional.conv2d(images, weights["conv1.weight"], padding=1), "bn1"))
    for block in dict.fromkeys(k.rsplit(".", 2)[0] for k in weights if k.startswith("layer")):
        first, second = weights[f"{block}.conv1.weight"], weights[f"{block}.conv2.weight"]
        stride = 1 if first.shape[0] == first.shape[1] else 2
        y = torch.relu(norm(functional.conv2d(x, first, stride=stride, padding=1), f"{block}.bn1"))
        y = norm(functional.conv2d(y, second, padding=1), f"{block}.bn2")
        pad = (first.shape[0] - first.shape[1]) // 2
        x = functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, pad, pad))
        x = torch.relu(x + y)
    return functional.linear(x.mean((2, 3)), weights["linear.weight"], weights["linear.bias"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_checkpoints_compute_what_pytorch_computes(name, shared_data, torch):
    data = shared_data / "data"
    file = data / "cifar_resnet_weights" / PUBLISHED[name]
    ours = create_model(name)
    load_torch(ours, file)
    with zipfile.ZipFile(data / "cifar10_jpeg.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("test/"))[::40]
        images = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(n)))) for n in names])
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    images = ((images / 255 - mean) / std).astype(np.float32)

    saved = torch.load(file, weights_only=True, map_location="cpu")["state_dict"]
    weights = {key.removeprefix("module."): value for key, value in saved.items()}
    expected = reference(torch, weights, torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    actual = logits_of(ours, images)
    assert len(images) == 250
    assert relative_error(actual, expected) < 1e-4
    np.testing.assert_array_equal(actual.argmax(-1), expected.argmax(-1))


@pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "legacy"])
def test_files_of_torch_save_are_read_as_pytorch_reads_them(as_zip, torch, tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "plain": base,
        "transposed": base.t(),
        "cut": base[1:3, 2:4],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 3),
        "half": torch.full((2, 2), 0.1).half(),
        "bfloat16": torch.full((3,), 0.1, dtype=torch.bfloat16),
        "double": torch.full((3,), 0.1, dtype=torch.float64),
        "bool": torch.tensor([True, False]),
    }
    file = tmp_path / "saved.pth"
    saved = {"state_dict": tensors, "epoch": 3, "name": "x"}
    torch.save(saved, file, _use_new_zipfile_serialization=as_zip)
    read = read_state_dict(file)
    assert (read["epoch"], read["name"]) == (3, "x")
    for name, tensor in tensors.items():
        array = read["state_dict"][name]
        assert array.dtype.name == str(tensor.dtype).removeprefix("torch.")
        np.testing.assert_array_equal(
            array.astype(np.float64), tensor.detach().double().numpy(), err_msg=name
        )


def test_a_whole_module_in_a_file_is_refused(torch, tmp_path):
    file = tmp_path / "module.pth"
    torch.save(torch.nn.Linear(2, 2), file)
    with pytest.raises(WeightsError, match=r"is refused: it asks for torch\.nn\.modules\.linear"):
        read_state_dict(file)


def test_tensors_of_half_precision_come_in_exactly(torch):
    ours = create_model("resnet20")
    weights = {key: torch.from_numpy(np.array(value)) for key, value in to_torch(ours).items()}
    for dtype in (torch.float16, torch.bfloat16):
        rounded = {k: v.to(dtype) if v.is_floating_point() else v for k, v in weights.items()}
        load_torch(ours, rounded)
        back = to_torch(ours)
        assert all(np.array_equal(back[key], value.float()) for key, value in rounded.items())


def test_a_busy_device_takes_the_weights_of_the_moment(torch):
    ours = BasicBlock(8, 8, rngs=nnx.Rngs(0))
    weights = {key: torch.tensor(value) for key, value in to_torch(ours).items()}
    work = jnp.ones((2000, 2000))
    jax.block_until_ready(work)
    jax.jit(lambda x: x @ x @ x)(work)  # a copy by the device would wait for it
    load_torch(ours, weights)
    for value in weights.values():
        value.fill_(7)
    assert not any((value == 7).any() for value in to_torch(ours).values())


@pytest.mark.parametrize("channels", [1, 2, 4, 8])
def test_other_image_channels_are_fitted_as_timm_does(channels, timm, torch):
    from timm.models import adapt_input_conv

    kernel = torch.randn(8, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    expected = adapt_input_conv(channels, kernel.clone()).numpy()
    np.testing.assert_allclose(adapt_input(kernel.numpy(), channels), expected, rtol=1e-6)
