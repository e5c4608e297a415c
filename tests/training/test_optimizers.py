import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_jax.training.config import OptimizerConfig, ScheduleConfig
from resnet_jax.training.optimizers import decays_matrices, make_optimizer, make_schedule


def schedule(peak=1.0, total=100, **fields):
    return make_schedule(ScheduleConfig(**fields), peak=peak, total_steps=total, steps_per_epoch=10)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "constant"}, {0: 1, 99: 1}),
        ({"name": "constant", "warmup_epochs": 1}, {0: 0, 5: 0.5, 10: 1, 99: 1}),
        (
            {"name": "step", "milestones": (0.5, 0.75)},
            {0: 1, 49: 1, 50: 0.1, 74: 0.1, 75: 0.01, 99: 0.01},
        ),
        (
            {"name": "step", "warmup_epochs": 1, "warmup_shape": "constant", "warmup_start": 0.1},
            {0: 0.1, 9: 0.1, 10: 1, 49: 1, 50: 0.1, 75: 0.01},
        ),
        ({"name": "cosine"}, {0: 1, 50: 0.5, 100: 0}),
        ({"name": "cosine", "warmup_epochs": 2, "end": 0.1}, {10: 0.5, 20: 1, 60: 0.55, 100: 0.1}),
        ({"name": "linear", "warmup_epochs": 2, "end": 0.5}, {10: 0.5, 20: 1, 60: 0.75, 100: 0.5}),
        (
            {"name": "onecycle", "warmup_epochs": 4, "warmup_start": 0.04},
            {0: 0.04, 20: 0.52, 40: 1, 70: 0.5, 100: 0},
        ),
    ],
)
def test_schedule_has_the_values_of_its_formula(fields, expected):
    rate = schedule(**fields)
    for step, value in expected.items():
        np.testing.assert_allclose(rate(step), value, atol=1e-6, err_msg=f"step {step}")


def test_a_warmup_longer_than_the_run_is_refused():
    with pytest.raises(ValueError, match=r"schedule.warmup_epochs=11: .* run of 10 epochs"):
        schedule(warmup_epochs=11)


def updated(config, gradients, params):
    optimizer = make_optimizer(config, optax.constant_schedule(config.learning_rate))
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_with_l2_follows_pytorch(nesterov):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = rng.normal(size=(4, 3)).astype(np.float32)
    gradients = rng.normal(size=(5, 4, 3)).astype(np.float32)
    weight = torch.nn.Parameter(torch.tensor(start))
    sgd = torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=nesterov)
    for gradient in gradients:
        weight.grad = torch.tensor(gradient)
        sgd.step()
    config = OptimizerConfig(learning_rate=0.1, nesterov=nesterov, weight_decay=0.01)
    ours = updated(config, [{"w": jnp.asarray(g)} for g in gradients], {"w": jnp.asarray(start)})
    np.testing.assert_allclose(ours["w"], weight.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_adamw_follows_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = rng.normal(size=(4, 3)).astype(np.float32)
    gradients = rng.normal(size=(5, 4, 3)).astype(np.float32)
    weight = torch.nn.Parameter(torch.tensor(start))
    adamw = torch.optim.AdamW([weight], lr=0.01, weight_decay=0.1)
    for gradient in gradients:
        weight.grad = torch.tensor(gradient)
        adamw.step()
    config = OptimizerConfig(
        name="adamw", learning_rate=0.01, weight_decay=0.1, decay_mode="decoupled"
    )
    ours = updated(config, [{"w": jnp.asarray(g)} for g in gradients], {"w": jnp.asarray(start)})
    np.testing.assert_allclose(ours["w"], weight.detach().numpy(), rtol=1e-5, atol=1e-6)


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
    zero = jax.tree.map(jnp.zeros_like, params)
    config = OptimizerConfig(learning_rate=0.1, weight_decay=1.0, decay_on="matrices")
    after = updated(config, [zero], params)
    np.testing.assert_allclose(after["kernel"], 0.9, rtol=1e-6)
    np.testing.assert_array_equal(after["bias"], 1.0)


def test_gradients_are_clipped_before_decay():
    params, gradient = {"w": jnp.ones((1, 1))}, {"w": jnp.full((1, 1), 50.0)}
    config = OptimizerConfig(learning_rate=0.1, weight_decay=1.0, clip_norm=2.0)
    np.testing.assert_allclose(updated(config, [gradient], params)["w"], 1 - 0.1 * 3, rtol=1e-6)
