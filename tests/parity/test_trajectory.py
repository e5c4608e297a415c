"""Whole stretches of training against PyTorch, in double precision.

Training is chaotic: in float32 PyTorch on one thread and PyTorch on two are percents apart after
ten steps. In float64 rounding has not grown much by then, and a difference in the method shows.
"""

import dataclasses
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from resnet_jax import ResNet, model_config
from resnet_jax.data.augment import normalize
from resnet_jax.data.config import DataConfig
from resnet_jax.data.sources import load_split
from resnet_jax.models import BatchNormConfig, ResNetConfig
from resnet_jax.training.config import OptimizerConfig, TrainConfig
from resnet_jax.training.optimizers import make_optimizer
from resnet_jax.training.state import Graphs, TrainState
from resnet_jax.training.steps import make_train_step
from resnet_jax.weights import load_torch, to_torch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def batches(shared_data):
    """Real images of CIFAR-10, in a fixed order."""
    source = load_split(
        DataConfig(name=f"zip:{shared_data / 'data' / 'cifar10_jpeg.zip'}"), "train"
    )

    def batches(size, count):
        order = np.random.default_rng(0).permutation(len(source))
        for start in range(0, size * count, size):
            examples = [source[int(i)] for i in order[start : start + size]]
            yield {
                "image": np.stack([example["image"] for example in examples]),
                "label": np.array([example["label"] for example in examples], np.int32),
                "mask": np.ones(size, bool),
            }

    return batches


def cifar_resnet20(torch):
    """The 20 layers for CIFAR with option A in PyTorch, named as akamaster's."""
    nn, functional = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self, in_planes, planes):
            super().__init__()
            self.stride = planes // in_planes
            self.conv1 = nn.Conv2d(in_planes, planes, 3, self.stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(planes)
            self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
            self.pad = (planes - in_planes) // 2

        def forward(self, x):
            y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
            short = x[:, :, :: self.stride, :: self.stride]
            return functional.relu(y + functional.pad(short, (0, 0, 0, 0, self.pad, self.pad)))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(16)
            self.layer1 = nn.Sequential(Block(16, 16), Block(16, 16), Block(16, 16))
            self.layer2 = nn.Sequential(Block(16, 32), Block(32, 32), Block(32, 32))
            self.layer3 = nn.Sequential(Block(32, 64), Block(64, 64), Block(64, 64))
            self.linear = nn.Linear(64, 10)

        def forward(self, x):
            x = functional.relu(self.bn1(self.conv1(x)))
            return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))

    return Network()


def begin(architecture, config, theirs):
    """Builds our step and first state with the weights of a PyTorch network, in float64."""
    batch_norm = BatchNormConfig(unbiased_variance=True)
    architecture = dataclasses.replace(architecture, batch_norm=batch_norm)
    model = ResNet(architecture, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    load_torch(model, theirs.state_dict())
    rate = optax.constant_schedule(config.optimizer.learning_rate)
    optimizer = make_optimizer(config.optimizer, rate)
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    state = TrainState(
        *(jnp.zeros((), jnp.int32) for _ in range(3)),
        params=params,
        batch_stats=nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)),
        opt_state=optimizer.init(params),
        average=None,
    )
    graphs = Graphs(train=nnx.graphdef(model), evaluate=nnx.graphdef(model))
    return jax.jit(make_train_step(graphs, optimizer, config)), state, model


def train_both(torch, config, architecture, theirs, optimizer, loss, batches, *, marks):
    """Takes the steps on both sides; returns how far they are apart after those in `marks`.

    The distance is the largest relative one of the losses so far, of the parameters and of the
    running statistics, each relative to the largest entry of its array.
    """
    step, state, model = begin(architecture, config, theirs)
    apart, losses = {}, []
    for number, batch in enumerate(batches, start=1):
        pixels = jnp.asarray(batch["image"], jnp.float32)
        images = normalize(pixels, config.data.mean, config.data.std)
        state, sums = step(state, batch)
        optimizer.zero_grad()
        inputs = torch.tensor(np.asarray(images)).double().permute(0, 3, 1, 2)
        value = loss(theirs(inputs), torch.tensor(batch["label"]).long())
        value.backward()
        optimizer.step()
        losses.append((float(sums["loss"]) / len(images), value.item()))
        if number in marks:
            nnx.update(model, state.params, state.batch_stats)
            apart[number] = distance(np.array(losses), to_torch(model), theirs)
    assert losses[-1][0] != losses[0][0]
    return apart


def distance(losses, ours, theirs):
    arrays = [
        np.abs(ours[name.replace("linear.", "fc.")] - value.numpy()).max()
        / value.abs().max().item()
        for name, value in theirs.state_dict().items()
        if not name.endswith("num_batches_tracked")
    ]
    assert len(arrays) > 50
    return max(np.abs(losses[:, 0] / losses[:, 1] - 1).max(), *arrays)


def test_sgd_on_resnet20_follows_pytorch(torch, batches):
    torch.manual_seed(0)
    theirs = cifar_resnet20(torch).double().train()
    config = TrainConfig(
        optimizer=OptimizerConfig(learning_rate=0.1, momentum=0.9, weight_decay=1e-4)
    )
    sgd = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    loss = torch.nn.functional.cross_entropy
    architecture = model_config("resnet20", num_classes=10)
    apart = train_both(
        torch, config, architecture, theirs, sgd, loss, batches(128, 20), marks=(10, 20)
    )
    assert apart[10] < 1e-9, apart
    assert apart[20] < 1e-5, apart


def test_lamb_and_bce_on_bottlenecks_follow_timm(torch, torchvision, timm, batches):
    torch.manual_seed(0)
    blocks = torchvision.models.resnet
    theirs = blocks.ResNet(blocks.Bottleneck, [1, 1, 1, 1], num_classes=10).double().train()
    config = TrainConfig(
        loss="bce",
        label_smoothing=0.1,
        bce_threshold=0.2,
        optimizer=OptimizerConfig(
            name="lamb", learning_rate=5e-3, weight_decay=0.02, decay_on="matrices", clip_norm=1.0
        ),
    )
    decayed = [p for p in theirs.parameters() if p.ndim > 1]
    others = [p for p in theirs.parameters() if p.ndim <= 1]
    lamb = importlib.import_module("timm.optim").Lamb(
        [{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}],
        lr=5e-3,
    )
    loss = importlib.import_module("timm.loss").BinaryCrossEntropy(
        smoothing=0.1, target_threshold=0.2
    )
    architecture = ResNetConfig(
        depths=(1, 1, 1, 1), widths=(256, 512, 1024, 2048), block="bottleneck", num_classes=10
    )
    apart = train_both(
        torch, config, architecture, theirs, lamb, loss, batches(64, 10), marks=(10,)
    )
    assert apart[10] < 1e-9, apart
