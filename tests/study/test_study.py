import argparse
import dataclasses
import io
import json
import pathlib
import xml.etree.ElementTree as ET

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

from resnet_jax import cli
from resnet_jax.cli import study as command
from resnet_jax.data.on_device.augment import normalize
from resnet_jax.study.figures import title
from resnet_jax.study.gradient_record import convolution_norms, record_gradients
from resnet_jax.study.images import open_sources
from resnet_jax.study.plan import BUDGETS, make_plan
from resnet_jax.study.reading import Reader, look_at
from resnet_jax.study.run import run_study


@pytest.mark.slow
def test_a_whole_study(plan, tmp_path):
    plan = dataclasses.replace(plan, seeds=2)
    console = Console(file=io.StringIO(), width=200)
    claims = run_study(plan, tmp_path, console=console)
    assert [claim.name for claim in claims] == [
        "degradation",
        "containment",
        "responses",
        "sensitivity",
    ]
    results = json.loads((tmp_path / "results.json").read_text())
    page = (tmp_path / "summary.md").read_text()
    for claim in claims:
        assert claim.heading in page
        assert results[claim.name] == json.loads(json.dumps(claim.numbers))
        assert all(f"- {line}" in page for line in claim.missing)
        for file in claim.figures:
            assert page.count(f"]({file})") == 1
            assert ET.parse(tmp_path / file).getroot().tag.endswith("svg")
    assert page.index("](degradation.svg)") < page.index("(退化问题)") < page.index("## ")
    assert str(tmp_path) not in page + json.dumps(results)
    others = [(item["network"], item["seed"]) for item in results["degradation"]["repeats"]]
    assert others == [("resnet8", 1), ("resnet14", 1)]
    assert "| residual 14 | 0, 1 |" in page
    outcomes = results["containment"]["outcomes"]
    assert set(results["containment"]["largest_difference_at_the_start"].values()) == {0.0}
    assert (outcomes[1]["right"], outcomes[1]["same"]) == (outcomes[0]["right"], 80)
    # The networks are kept: a second call trains nothing, and finds the same.
    again = run_study(plan, tmp_path, console=console)
    assert "resnet14-seed1: trained before" in console.file.getvalue()
    assert json.dumps([claim.numbers for claim in again]) == json.dumps(
        [claim.numbers for claim in claims]
    )


@pytest.mark.parametrize("name", ["plain8", "resnet8"])
def test_the_reader_computes_what_the_network_does(name, trained, plan):
    images, network = look_at(plan.recipe, open_sources(plan), 20), trained(name)
    reader, data = Reader(network), network.config.data
    expected = network.model(normalize(jnp.asarray(images.pixels), data.mean, data.std))
    logits = reader.logits(network.variables, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    reading = reader.read(network.variables, images.pixels)
    assert reading.responses.shape == (7,)
    assert reading.branches.shape == reading.sums.shape == (3,)
    assert (np.array(reading.branches) == np.array(reading.sums)).all() == (name == "plain8")


def test_a_block_that_is_taken_out_takes_no_part(trained, plan):
    network = trained("resnet8")
    reader, images = Reader(network), look_at(plan.recipe, open_sources(plan), 20)
    variables = network.variables
    poisoned = jax.tree.map(jnp.copy, variables)
    poisoned.params["stages"][1][0]["conv1"]["kernel"] *= 7.0
    poisoned.params["stages"][1][0]["norm2"]["bias"] += 1.0
    whole, hurt = (reader.logits(v, images) for v in (variables, poisoned))
    assert (whole != hurt).any()
    without = [reader.logits(v, images, without=1) for v in (variables, poisoned)]
    np.testing.assert_array_equal(*without)
    assert (without[0] != whole).any()


def test_images_are_computed_in_parts(trained, plan):
    images = look_at(plan.recipe, open_sources(plan), 50)
    parts = dataclasses.replace(images, batch_size=20)
    assert [len(part.labels) for part in parts.batches] == [20, 20, 10]
    network = trained("resnet8")
    reader = Reader(network)
    chunks = reader.logits(network.variables, parts)
    np.testing.assert_allclose(
        chunks, reader.logits(network.variables, images), rtol=1e-5, atol=1e-5
    )
    assert 0 <= images.right(chunks) <= 50


def test_gradients_are_recorded_in_the_order_of_depth():
    def leaf(value, *shape):
        return jnp.full(shape, value)

    blocks = {n: {"conv1": {"kernel": leaf(n + 1.0, 1, 1, 1, 1)}} for n in range(12)}
    blocks[0]["conv2"] = {"kernel": leaf(0.5, 1, 1, 2, 2)}
    params = {
        "head": {"kernel": leaf(9.0, 3, 3), "bias": leaf(9.0, 3)},
        "stages": {0: blocks},
        "stem": {"conv": {"kernel": leaf(3.0, 1, 1, 1, 1)}},
    }
    expected = [3.0, 1.0, 1.0, *range(2, 13)]
    np.testing.assert_allclose(convolution_norms(params), expected)
    record = record_gradients()
    state = record.init(params)
    for _ in range(2):
        updates, state = record.update(params, state)
    assert updates is params
    np.testing.assert_allclose(state.total, 2 * np.array(expected))


def test_the_recorded_gradient_is_that_of_the_loss(trained):
    training = trained("resnet8").training
    assert set(training.gradients) == {"initial", "first epoch", "last epoch"}
    assert all(len(norms) == 7 and min(norms) > 0 for norms in training.gradients.values())
    assert len(training.epochs) == 2
    assert (training.steps, training.train_count, training.test_count) == (10, 640, 100)


def test_the_step_is_compiled_once(plan, train, tmp_path, caplog):
    with jax.log_compiles():
        train("resnet8", tmp_path)
    compiled = [line for line in caplog.messages if "XLA compilation of jit(train_step)" in line]
    assert len(compiled) == 1


def test_recording_changes_no_update():
    params = {"stages": {0: {0: {"conv1": {"kernel": jnp.ones((1, 1, 2, 2))}}}}}
    plain, recorded = optax.sgd(0.1), optax.chain(record_gradients(), optax.sgd(0.1))
    updates = [
        optimizer.update(params, optimizer.init(params), params)[0]
        for optimizer in (plain, recorded)
    ]
    np.testing.assert_array_equal(*(jax.tree.leaves(update)[0] for update in updates))


@pytest.mark.parametrize(
    ("name", "images", "budget"), [("digits", 360, "minutes"), ("cifar10", 1000, "hours")]
)
def test_the_page_holds_what_was_measured(name, images, budget):
    docs = pathlib.Path(__file__).resolve().parents[2] / "docs"
    page = (docs / "study.md").read_text()
    results = json.loads((docs / "study" / f"{name}_results.json").read_text())
    for name, found in results["degradation"]["networks"].items():
        loss = found["epochs"][-1]["train_loss"]
        row = (
            f"| {title(name)} | {loss:.4f} | {found['train_error']:.2%} | {found['test_error']:.2%}"
        )
        assert row in page
    for outcome in results["containment"]["outcomes"]:
        assert f"| {outcome['name']} | {outcome['right']} of {images} |" in page
    plan = make_plan(budget, data=None if budget == "minutes" else "zip:cifar10.zip")
    for field in ("epochs", "batch_size"):
        assert results["plan"]["recipe"][field] == getattr(plan.recipe, field)
    rate = plan.recipe.optimizer.learning_rate
    assert results["plan"]["recipe"]["optimizer"]["learning_rate"] == rate


def test_plans():
    plan = make_plan()
    assert plan.networks == ("plain20", "resnet20", "plain56", "resnet56", "resnet110")
    assert plan.config(plan.runs[2]).model.name == "plain56"
    assert plan.recipe.optimizer.learning_rate == 0.02
    assert plan.repeats == ()
    paper = make_plan("paper", data="zip:a/photos.zip", epochs=1, learning_rate=0.05)
    assert paper.recipe.optimizer.learning_rate == 0.05
    assert paper.recipe.schedule.warmup_epochs == 0.5
    assert (paper.data, paper.recipe.data.name) == ("zip:a/photos.zip", "given:photos.zip")


def test_the_command_takes_every_budget():
    parser = argparse.ArgumentParser()
    command.add_flags(parser)
    for name, budget in BUDGETS.items():
        flags = parser.parse_args([f"--budget={name}"])
        assert make_plan(flags.budget).depths == budget.depths
    assert parser.parse_args([]).budget == "minutes"


def test_the_plan_for_two_cores():
    plan = make_plan("hours", seed=3)
    assert plan.networks == ("plain20", "resnet20", "plain56", "resnet56")
    assert [run.name for run in plan.repeats] == [
        "resnet20-seed4",
        "resnet56-seed4",
        "resnet20-seed5",
        "resnet56-seed5",
    ]
    assert plan.config(plan.repeats[-1]).seed == 5
    paper, small = make_plan("paper").recipe, plan.recipe
    assert (plan.image_size, small.model.width, small.epochs) == (16, 0.25, 40)
    assert (small.optimizer, small.schedule) == (paper.optimizer, paper.schedule)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--depths=20,x"], "error: argument --depths: '20,x' is not a list of numbers"),
        (["--data=zip:a.zip"], "error: --budget=minutes is not for --data=zip:a.zip: write"),
        (["--budget=paper", "--data=digits"], "error: --budget=paper is not for --data=digits"),
        (["--budget=days"], "error: argument --budget: invalid choice: 'days'"),
        (["--seeds=0"], "error: --seeds=0: give the number of seeds"),
        (["--depths=20"], "error: --depths=20: give two or three numbers"),
        (["--depths=56,20"], "error: --depths=56,20 must increase"),
        (["--epochs=0"], "error: epochs=0"),
        (["--learning-rate=-1"], "error: optimizer.learning_rate=-1.0"),
        (["--epoch=1"], "error: unknown argument '--epoch=1'. Did you mean"),
        (["--budget=hours", "--data=cifar/"], "error: data.name='cifar/'"),
    ],
)
def test_an_error_that_the_user_can_fix_is_one_line(words, message, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["study", *words])
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1
