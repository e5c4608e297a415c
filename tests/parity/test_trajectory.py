"""Stretches of training against PyTorch, on real images and in double precision.

Training is chaotic. In float32 PyTorch on one thread and PyTorch on two are percents apart after
ten steps; in float64 rounding has not grown much by then, and a difference in the method shows.
"""

import importlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_jax.data.config import DataConfig
from resnet_jax.data.on_device.augment import normalize
from resnet_jax.machine.cpu import keep_freed_memory
from resnet_jax.training.evaluator import make_evaluator
from resnet_jax.training.recipe.config import (
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)
from resnet_jax.training.step.state import Variables
from resnet_jax.training.trainer import make_trainer
from resnet_jax.weights import load_torch
from resnet_jax.weights.leaves import skeleton
from resnet_jax.zoo import model_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True, scope="module")
def _kept_memory():
    """Halves the time: large arrays come and go, and the kernel clears each page anew."""
    keep_freed_memory()


@pytest.fixture(autouse=True)
def _double_precision(monkeypatch):
    """XLA's convolution in float64 takes minutes for a step on a CPU; this one a second."""
    monkeypatch.setattr(jax.lax, "conv_general_dilated", convolve)
    with jax.enable_x64(True):
        yield


def convolve(x, kernel, strides, padding, *, rhs_dilation=(1, 1), feature_group_count=1, **layout):
    """Multiplies patches by the kernel, few images at a time, so that they stay in the cache."""
    assert (*rhs_dilation, feature_group_count) == (1, 1, 1)

    @jax.checkpoint  # patches are larger than x by as many times as the kernel has taps
    def of_some(x):
        patches = jnp.pad(x, [(0, 0), *padding, (0, 0)])
        for axis, (size, stride) in enumerate(zip(kernel.shape[:2], strides, strict=True), start=1):
            end = patches.shape[axis] - size + 1
            taps = [
                jax.lax.slice_in_dim(patches, tap, end + tap, stride, axis) for tap in range(size)
            ]
            patches = jnp.stack(taps, axis=-2)
        return jnp.einsum("nhwijc,ijcf->nhwf", patches, kernel)

    values = x[0].size * math.prod(kernel.shape[:2]) // math.prod(strides)
    some = math.gcd(len(x), 1 << (2**18 // values).bit_length())
    y = jax.lax.map(of_some, x.reshape(-1, some, *x.shape[1:]))
    return y.reshape(-1, *y.shape[2:])


@pytest.fixture
def trainer(shared_data):
    """Builds what `train` runs, on CIFAR-10 without random changes."""
    data = DataConfig(
        name=f"zip:{shared_data / 'data' / 'cifar10_jpeg.zip'}",
        # (pixel - 127.5) / 64: exact in float32, whether or not it is one fused operation.
        mean=(1 / 2,),
        std=(64 / 255,),
        in_memory=False,
        device_resident=False,
    )

    def trainer(name, **settings):
        config = TrainConfig(
            batch_size=32,
            model=ModelConfig(name=name, unbiased_variance=True),
            data=data,
            schedule=ScheduleConfig(name="constant"),
            **settings,
        )
        return make_trainer(make_evaluator(config))

    return trainer


def train_both(torch, trainer, theirs, optimizer, loss, *, marks):
    """Takes the steps on both sides; returns how far apart they are after those in `marks`.

    That is the greatest of three: the relative difference of a loss until then, and the norm of the
    difference of all parameters, and of all statistics, over the norm of theirs.
    """
    state, data = first_state(trainer, theirs), trainer.config.data
    losses, apart = [], {}
    with trainer.batches() as batches:
        for step in range(1, max(marks) + 1):
            batch = next(batches)
            state, sums = trainer.train_step(state, trainer.put(batch, step))
            images = np.asarray(normalize(batch["image"], data.mean, data.std))
            optimizer.zero_grad()
            logits = theirs(torch.tensor(images).double().permute(0, 3, 1, 2))
            value = loss(logits, torch.tensor(batch["label"]).long())
            value.backward()
            optimizer.step()
            losses.append(abs(float(sums["loss"] / sums["count"]) / value.item() - 1))
            if step in marks:
                ours = Variables(state.params, state.batch_stats)
                pairs = zip(ours, variables_of(theirs, trainer), strict=True)
                apart[step] = max(*losses, *(distance(*pair) for pair in pairs))
    return apart


def first_state(trainer, network):
    """The state before the first step, with the variables of a PyTorch network."""
    params, batch_stats = variables_of(network, trainer)
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), trainer.like())
    opt_state = jax.jit(trainer.optimizer.init)(params)
    state = state._replace(params=params, batch_stats=batch_stats, opt_state=opt_state)
    return jax.device_put(state, trainer.shardings)


def variables_of(network, trainer):
    config = model_config(trainer.config.model.name, num_classes=10)
    model = skeleton(config, param_dtype=jnp.float64)
    load_torch(model, network.state_dict())
    kinds = (nnx.Param, nnx.BatchStat)
    return Variables(*(nnx.to_pure_dict(nnx.state(model, kind)) for kind in kinds))


def distance(ours, theirs):
    ours, theirs = (np.concatenate(list(map(np.ravel, jax.tree.leaves(t)))) for t in (ours, theirs))
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def test_sgd_on_resnet20_follows_pytorch(torch, cifar_resnet20, trainer):
    torch.manual_seed(0)
    theirs = cifar_resnet20().double()
    sgd = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    rule = OptimizerConfig(name="sgd", learning_rate=0.1, momentum=0.9, weight_decay=1e-4)
    loss = torch.nn.functional.cross_entropy
    ours = trainer("resnet20", optimizer=rule)
    apart = train_both(torch, ours, theirs, sgd, loss, marks=(10,))
    assert apart[10] < 1e-9, apart


def test_lamb_and_bce_on_bottlenecks_follow_timm(torch, timm, trainer):
    torch.manual_seed(0)
    theirs = timm.create_model("resnet14t", num_classes=10, zero_init_last=False).double()
    optim, losses = (importlib.import_module(f"timm.{name}") for name in ("optim", "loss"))
    lamb = optim.Lamb(optim.param_groups_weight_decay(theirs, 0.02), lr=5e-3, max_grad_norm=1.0)
    loss = losses.BinaryCrossEntropy(smoothing=0.1)
    rule = OptimizerConfig(
        name="lamb", learning_rate=5e-3, weight_decay=0.02, decay_on="matrices", clip_norm=1.0
    )
    ours = trainer("resnet14t", loss=LossConfig(name="bce", label_smoothing=0.1), optimizer=rule)
    apart = train_both(torch, ours, theirs, lamb, loss, marks=(10,))
    assert apart[10] < 1e-9, apart
