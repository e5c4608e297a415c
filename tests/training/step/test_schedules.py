import numpy as np
import pytest

from resnet_jax.training.recipe.config import ScheduleConfig
from resnet_jax.training.step.schedules import make_schedule


def schedule(learning_rate=1.0, total=100, is_part=False, **fields):
    return make_schedule(
        ScheduleConfig(**fields),
        learning_rate=learning_rate,
        total_steps=total,
        steps_per_epoch=10,
        is_part=is_part,
    )


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
            {"name": "cosine", "warmup_epochs": 2, "from_start": True},
            {10: 0.5, 20: 0.9045085, 50: 0.5, 100: 0},
        ),
        ({"name": "linear", "warmup_epochs": 2, "from_start": True}, {20: 0.8, 60: 0.4, 100: 0}),
        ({"name": "constant", "warmup_steps": 4, "warmup_epochs": 9}, {0: 0, 2: 0.5, 4: 1, 99: 1}),
        (
            {"name": "onecycle", "warmup_epochs": 4, "warmup_start": 0.04},
            {0: 0.04, 20: 0.52, 40: 1, 70: 0.5, 100: 0},
        ),
    ],
)
def test_schedule_has_the_values_of_its_formula(fields, expected):
    learning_rate = schedule(**fields)
    for step, value in expected.items():
        np.testing.assert_allclose(learning_rate(step), value, atol=1e-6, err_msg=f"step {step}")


def test_a_warmup_longer_than_the_run_is_refused():
    with pytest.raises(ValueError, match=r"schedule.warmup_epochs=11: .* run of 10 epochs"):
        schedule(warmup_epochs=11)


@pytest.mark.parametrize("fields", [{"warmup_epochs": 20}, {"warmup_steps": 200}])
def test_a_run_of_a_few_steps_is_the_beginning_of_its_warmup(fields):
    learning_rate = schedule(is_part=True, **fields)
    np.testing.assert_allclose([learning_rate(step) for step in (0, 50, 100)], [0, 0.25, 0.5])


def test_warmup_steps_beyond_the_run_are_refused():
    with pytest.raises(ValueError, match=r"schedule.warmup_steps=101: .* run of 100 steps"):
        schedule(warmup_steps=101)


@pytest.mark.parametrize("step", [0, 100, 299, 300, 700, 999])
def test_one_cycle_follows_pytorch(step):
    torch = pytest.importorskip("torch")
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    # PyTorch ends at the step before the last; from the peak on both fall by the same cosine.
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        sgd,
        max_lr=0.4,
        total_steps=1001,
        pct_start=301 / 1001,
        div_factor=25.0,
        final_div_factor=100.0,
        cycle_momentum=False,
    )
    for _ in range(step):
        sgd.step()
        cycle.step()
    ours = schedule(
        learning_rate=0.4,
        total=1000,
        name="onecycle",
        warmup_steps=300,
        warmup_start=0.04,
        end=0.0004,
    )
    np.testing.assert_allclose(ours(step), sgd.param_groups[0]["lr"], rtol=1e-5)
