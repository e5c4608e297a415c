import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_jax.training.recipe.config import FinetuneConfig, OptimizerConfig
from resnet_jax.training.step.optimizers import (
    decays_matrices,
    decays_not_norms,
    depths,
    make_optimizer,
)


def updated(config, gradients, params):
    optimizer = make_optimizer(config, optax.constant_schedule(config.learning_rate))
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


def network(value=1.0):
    """The parameters of a network with one stage, as far as their places matter."""
    rng = np.random.default_rng(0)

    def kernel(*shape):
        return jnp.asarray(value * rng.normal(size=shape), jnp.float32)

    def norm(features):
        return {"scale": kernel(features), "bias": kernel(features)}

    block = {"conv1": {"kernel": kernel(3, 3, 4, 8)}, "norm1": norm(8)}
    return {
        "stem": {"conv": {"kernel": kernel(3, 3, 3, 4)}, "norm": norm(4)},
        "stages": {0: {0: block}},
        "head": {"kernel": kernel(8, 10), "bias": kernel(10)},
    }


def test_muon_orthogonalises_kernels_and_leaves_the_rest_to_adam():
    params, gradient = network(), network(0.1)
    config = OptimizerConfig(name="muon", learning_rate=1.0, weight_decay=0.0, momentum=0.95)
    after = updated(config, [gradient], params)
    update = jax.tree.map(jnp.subtract, params, after)
    matrix = np.asarray(update["stages"][0][0]["conv1"]["kernel"]).reshape(36, 8)
    # 0.2 times the root of the longer side; the iteration leaves singular values near 1.
    values = np.linalg.svd(matrix, compute_uv=False) / (0.2 * 6)
    assert 0.6 < values.min() < values.max() < 1.3
    flat = np.asarray(gradient["stages"][0][0]["conv1"]["kernel"]).reshape(36, 8)
    left, _, right = np.linalg.svd(flat, full_matrices=False)
    assert np.trace((left @ right).T @ matrix) / (0.2 * 6) / 8 > 0.6
    # The first step of Adam with Nesterov's momentum: the sign, lengthened by the look ahead.
    ahead = 0.9 * 0.1 / (1 - 0.9**2) + 1
    for part in ("kernel", "bias"):
        np.testing.assert_allclose(
            update["head"][part], ahead * np.sign(gradient["head"][part]), rtol=1e-3, atol=1e-4
        )


def test_stages_have_their_rates():
    params = network()
    assert jax.tree.leaves(depths(params)["stages"]) == [1] * 3
    config = OptimizerConfig(learning_rate=1.0, weight_decay=0.0, momentum=0.0)
    optimizer = make_optimizer(
        config, optax.constant_schedule(1.0), finetune=FinetuneConfig(rate_decay=0.5)
    )
    gradient = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    rates = {
        name: {float(-leaf.min()) for leaf in jax.tree.leaves(updates[name])} for name in updates
    }
    assert rates == {"stem": {0.25}, "stages": {0.5}, "head": {1.0}}


@pytest.mark.parametrize("name", ["sgd", "lars", "lamb", "adamw", "lion", "muon"])
@pytest.mark.parametrize("decay_on", ["all", "not_norms", "matrices"])
def test_frozen_stages_stay_and_the_others_move_whatever_the_rule(name, decay_on):
    params = network()
    config = OptimizerConfig(name=name, weight_decay=0.1, decay_on=decay_on, clip_norm=1.0)
    optimizer = make_optimizer(
        config,
        optax.constant_schedule(0.1),
        finetune=FinetuneConfig(frozen_stages=1, rate_decay=0.9),
    )
    gradient = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    assert all(bool((leaf == 0).all()) for leaf in jax.tree.leaves(updates["stem"]))
    for part in ("stages", "head"):
        assert all(bool((leaf != 0).any()) for leaf in jax.tree.leaves(updates[part]))


def test_decay_before_and_after_momentum_differ_from_the_second_step_on():
    params, zero = {"w": jnp.ones((1, 1))}, {"w": jnp.zeros((1, 1))}
    l2 = OptimizerConfig(learning_rate=0.1, weight_decay=1.0)
    decoupled = OptimizerConfig(learning_rate=0.1, weight_decay=1.0, decay_mode="decoupled")
    np.testing.assert_allclose(updated(decoupled, [zero] * 2, params)["w"], 0.9**2, rtol=1e-6)
    # The velocity remembers the first decay: 0.9 - 0.1 * (0.9 * 1 + 0.9).
    np.testing.assert_allclose(updated(l2, [zero] * 2, params)["w"], 0.72, rtol=1e-6)


def test_matrices_decay_and_vectors_do_not():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    assert decays_matrices(params) == {"kernel": True, "bias": False}
    assert decays_not_norms({"head": params, "norm": {"scale": 1, "bias": 1}}) == {
        "head": {"kernel": True, "bias": True},
        "norm": {"scale": False, "bias": False},
    }
    zero = jax.tree.map(jnp.zeros_like, params)
    config = OptimizerConfig(learning_rate=0.1, weight_decay=1.0, decay_on="matrices")
    after = updated(config, [zero], params)
    np.testing.assert_allclose(after["kernel"], 0.9, rtol=1e-6)
    np.testing.assert_array_equal(after["bias"], 1.0)


def test_gradients_are_clipped_before_decay():
    params, gradient = {"w": jnp.ones((1, 1))}, {"w": jnp.full((1, 1), 50.0)}
    config = OptimizerConfig(learning_rate=0.1, weight_decay=1.0, clip_norm=2.0)
    np.testing.assert_allclose(updated(config, [gradient], params)["w"], 1 - 0.1 * 3, rtol=1e-6)
