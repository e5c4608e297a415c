"""Whole networks and one training step against PyTorch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from resnet_jax import BatchNormConfig, create_model, model_config
from resnet_jax.weights import load_torch
from resnet_jax.weights.leaves import skeleton

BATCH = 4


@pytest.fixture(params=["resnet20", "resnet50"])
def pair(request, torch, torchvision, cifar_resnet20):
    """A network of PyTorch's in double precision, ours with its weights, images and labels."""
    torch.manual_seed(0)
    if request.param == "resnet20":
        theirs, size = cifar_resnet20(), 32
    else:
        theirs, size = torchvision.models.resnet50(), 64
    x = torch.randn(BATCH, 3, size, size, dtype=torch.float64)
    labels = torch.arange(BATCH) * 2
    return request.param, theirs.double(), x, labels


def build(name, theirs):
    config = model_config(name)
    norm = BatchNormConfig(unbiased_variance=True)
    model = skeleton(dataclasses.replace(config, batch_norm=norm), param_dtype=jnp.float64)
    load_torch(model, theirs.state_dict())
    return model


def relative(ours, theirs):
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


@pytest.mark.slow
def test_forward_and_one_training_step(pair, torch):
    """In float64, where two right implementations agree to many more digits than in float32."""
    name, theirs, x, labels = pair
    with jax.enable_x64(True):
        model = build(name, theirs)
        images = jnp.asarray(x.numpy().transpose(0, 2, 3, 1))

        model.eval()
        forward = nnx.jit(lambda model, x: model(x))
        assert relative(forward(model, images), theirs.eval()(x).detach().numpy()) < 1e-10

        optimizer = torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
        loss = torch.nn.functional.cross_entropy(theirs.train()(x), labels)
        loss.backward()
        optimizer.step()

        model.train()
        graphdef, params, batch_stats = nnx.split(model, nnx.Param, nnx.BatchStat)
        tx = optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(0.1, momentum=0.9))

        @jax.jit
        def step(params, batch_stats):
            def loss_fn(params):
                module = nnx.merge(graphdef, params, batch_stats, copy=True)
                losses = optax.softmax_cross_entropy_with_integer_labels(
                    module(images), jnp.asarray(labels.numpy())
                )
                return losses.mean(), nnx.state(module, nnx.BatchStat)

            (loss, batch_stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
            updates, _ = tx.update(grads, tx.init(params), params)
            return optax.apply_updates(params, updates), batch_stats, loss

        params, batch_stats, our_loss = step(params, batch_stats)
        expected = nnx.state(build(name, theirs))
        errors = jax.tree.map(relative, nnx.merge_state(params, batch_stats), expected)
        assert our_loss == pytest.approx(loss.item(), rel=1e-10)
        assert max(jax.tree.leaves(errors)) < 1e-8, errors


@pytest.mark.parametrize("name", ["resnet18"])
def test_forward_in_float32(name, torch, torchvision):
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name).eval()
    model = create_model(name)
    load_torch(model, theirs.state_dict())
    model.eval()
    x = torch.randn(2, 3, 64, 64)
    ours = nnx.jit(lambda model, x: model(x))(model, x.numpy().transpose(0, 2, 3, 1))
    assert relative(ours, theirs(x).detach().numpy()) < 1e-5
