"""The block of the notes against the same block in PyTorch."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_jax import BatchNorm, ResidualBlock
from resnet_jax.weights import load_torch

# The rounding of float32 sums over 9 x 16 products, in two frameworks' orders.
close = functools.partial(chex.assert_trees_all_close, rtol=1e-5, atol=1e-5)


@pytest.fixture
def torch_block(torch):
    """Builds the block that the notes define, with a stride."""
    nn, relu = torch.nn, torch.nn.functional.relu

    class Block(nn.Module):
        def __init__(self, in_channel, out_channel, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(in_channel, out_channel, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(out_channel)
            self.conv2 = nn.Conv2d(out_channel, out_channel, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(out_channel)
            self.conv3 = nn.Conv2d(in_channel, out_channel, 1, stride)
            for bn in (self.bn1, self.bn2):
                for tensor in (bn.weight.data, bn.bias.data, bn.running_mean, bn.running_var):
                    tensor.uniform_(0.5, 1.5)

        def forward(self, x):
            out = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
            return relu(self.conv3(x) + out)

    torch.manual_seed(0)
    return Block


def relative(ours, theirs):
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def nhwc(tensor):
    return tensor.detach().numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
def test_equals_pytorch(torch, torch_block, stride, train):
    theirs = torch_block(8, 16, stride).train(train)
    norm = functools.partial(BatchNorm, unbiased_variance=True)
    block = ResidualBlock(8, 16, stride=stride, norm=norm, rngs=nnx.Rngs(0))
    load_torch(block, theirs.state_dict())
    block.train() if train else block.eval()
    graphdef, params, batch_stats = nnx.split(block, nnx.Param, nnx.BatchStat)

    x = torch.randn(4, 8, 10, 10, requires_grad=True)
    y = theirs(x)
    weights = torch.randn_like(y)
    (y * weights).sum().backward()

    @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def loss_fn(params, x):
        block = nnx.merge(graphdef, params, batch_stats, copy=True)
        y = block(x)
        return jnp.sum(y * nhwc(weights)), (y, block)

    (_, (ours, updated)), (d_params, d_x) = jax.jit(loss_fn)(params, nhwc(x))

    assert relative(ours, nhwc(y)) < 1e-5
    assert relative(d_x, nhwc(x.grad)) < 1e-5
    expected = {name: p.grad for name, p in theirs.named_parameters()}
    gradients = ResidualBlock(8, 16, stride=stride, rngs=nnx.Rngs(0))
    load_torch(gradients, {**theirs.state_dict(), **expected})
    errors = jax.tree.map(relative, d_params, nnx.state(gradients, nnx.Param))
    assert max(jax.tree.leaves(errors)) < 1e-5, errors
    load_torch(gradients, theirs.state_dict())
    errors = jax.tree.map(
        relative, nnx.state(updated, nnx.BatchStat), nnx.state(gradients, nnx.BatchStat)
    )
    assert max(jax.tree.leaves(errors)) < 1e-5, errors


def test_running_variance_is_biased_by_default(torch, torch_block):
    """Flax's convention: n - 1 in the place of n, with n = 4 x 10 x 10 values a channel."""
    theirs = torch_block(8, 16, 1)
    block = ResidualBlock(8, 16, rngs=nnx.Rngs(0))
    load_torch(block, theirs.state_dict())
    before = block.norm1.var[...]
    x = torch.randn(4, 8, 10, 10)
    theirs(x)
    block(nhwc(x))
    moved = theirs.bn1.running_var.numpy() - 0.9 * before
    close(block.norm1.var[...] - 0.9 * before, moved * 399 / 400)
