"""Update rules on the same gradients as PyTorch's and timm's, in double precision."""

import dataclasses
import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_jax.training.recipe.config import OptimizerConfig
from resnet_jax.training.step.optimizers import make_optimizer

# Each step adds a few roundings of 1e-16.
assert_close = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-13)


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def optim(timm):
    return importlib.import_module("timm.optim")


def run(torch, kind, config, *, steps=5, shape=(4, 3), **options):
    """Runs a PyTorch optimizer and ours on the same gradients; returns both weights."""
    rng = np.random.default_rng(0)
    start = rng.normal(size=shape)
    gradients = rng.normal(size=(steps, *shape))
    weight = torch.nn.Parameter(torch.tensor(start))
    theirs = kind([weight], lr=config.learning_rate, weight_decay=config.weight_decay, **options)
    for gradient in gradients:
        weight.grad = torch.tensor(gradient)
        theirs.step()
    optimizer = make_optimizer(config, optax.constant_schedule(config.learning_rate))
    params = {"w": jnp.asarray(start)}
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update({"w": jnp.asarray(gradient)}, state, params)
        params = optax.apply_updates(params, updates)
    return params["w"], weight.detach().numpy()


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_with_l2_follows_pytorch(torch, nesterov):
    config = OptimizerConfig(learning_rate=0.1, nesterov=nesterov, weight_decay=0.01)
    pair = run(torch, torch.optim.SGD, config, momentum=0.9, nesterov=nesterov)
    assert_close(*pair)


def test_sgd_with_decoupled_decay_follows_timm(torch, optim):
    config = OptimizerConfig(learning_rate=0.1, weight_decay=0.01, decay_mode="decoupled")
    pair = run(torch, optim.SGDW, config, momentum=0.9)
    assert_close(*pair)


def test_adamw_follows_pytorch(torch):
    config = OptimizerConfig(name="adamw", learning_rate=0.01, weight_decay=0.1)
    assert_close(*run(torch, torch.optim.AdamW, config))


def test_adam_with_l2_follows_pytorch(torch):
    config = OptimizerConfig(name="adamw", learning_rate=0.01, weight_decay=0.1, decay_mode="l2")
    assert_close(*run(torch, torch.optim.Adam, config))


def test_lion_follows_timm(torch, optim):
    config = OptimizerConfig(name="lion", learning_rate=0.01, weight_decay=0.1)
    assert_close(*run(torch, optim.Lion, config))


@pytest.mark.parametrize(("shape", "decay"), [((4, 3), 0.02), ((4,), 0.0)])
def test_lamb_follows_timm(torch, optim, shape, decay):
    # timm decays no vectors, and then leaves their rate alone, as `decay_on="matrices"` does.
    config = OptimizerConfig(
        name="lamb", learning_rate=0.01, weight_decay=0.02, decay_on="matrices", clip_norm=1.0
    )
    theirs = dataclasses.replace(config, weight_decay=decay)
    ours, _ = run(torch, optim.Lamb, config, shape=shape)
    _, expected = run(torch, optim.Lamb, theirs, shape=shape)
    assert_close(ours, expected)


def test_lars_follows_timm_at_a_constant_rate(torch, optim):
    config = OptimizerConfig(name="lars", learning_rate=2.0, weight_decay=1e-4)
    pair = run(torch, optim.Lars, config, momentum=0.9, trust_coeff=0.001, eps=0.0)
    # timm divides by the norms of gradient and decay added up, optax by the norm of their sum: 3e-5
    # apart with this decay.
    np.testing.assert_allclose(*pair, rtol=1e-4)
