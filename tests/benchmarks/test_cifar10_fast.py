import json

import pytest

from benchmarks import cifar10_fast
from benchmarks.cifar10_fast import Budget
from benchmarks.runs import Run


def test_an_accuracy_takes_as_long_as_the_smallest_budget_whose_mean_reaches_it():
    budgets = [
        Budget(8, [94.5, 93.0], [40.0, 42.0], [20.0, 22.0]),  # one seed does, the mean does not
        Budget(15, [95.5, 94.5], [60.0, 62.0], [40.0, 44.0]),
        Budget(30, [95.9, 95.9], [90.0, 90.0], [70.0, 70.0]),
    ]
    rows = {row.name: row.ours for row in cifar10_fast.summarize("cifar10", budgets)}
    assert rows["cifar10, 8 epochs, mean test accuracy, %"] == 93.75
    times = {name: ours for name, ours in rows.items() if " epochs" not in name}
    assert times == {
        "cifar10, 94%, the whole process, seconds": 61.0,
        "cifar10, 94%, steps alone, seconds": 42.0,
        "cifar10, 95%, the whole process, seconds": 61.0,
        "cifar10, 95%, steps alone, seconds": 42.0,
    }


@pytest.mark.slow
def test_the_recipe_is_trained_and_evaluated(tmp_path, capsys):
    path = tmp_path / "rows.json"
    smaller = ("--config.data.channels=3", "--config.model.name=resnet8", "--config.batch_size=128")
    budget = ("--epochs", "1", "--seeds", "1", "--json", str(path))
    assert cifar10_fast.main(["digits", *budget, "--", *smaller]) == 0
    assert capsys.readouterr().out.startswith("1 epochs  seed 0  ")
    accuracy, whole, steps = (row["ours"] for row in json.loads(path.read_text())["rows"])
    assert accuracy * 360 / 100 == pytest.approx(round(accuracy * 360 / 100))  # images for tests
    assert whole > steps > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits", "--seeds=0"], "--seeds=0: give 1 or more"),
        (["digits", "--json=nowhere/rows.json"], "--json=nowhere/rows.json: there is no such fol"),
        (["zip:nowhere.zip"], "nowhere.zip': the archive cannot be read"),
    ],
)
def test_bad_input_is_named(words, message, capfd):
    with pytest.raises(SystemExit) as end:
        cifar10_fast.main(words)
    assert end.value.code == 2
    said = capfd.readouterr().err
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize(("rates", "median"), [([1.0, 8.0, 4.0, 6.0], 6.0), ([3.0], 3.0)])
def test_the_rate_leaves_out_the_record_in_which_the_step_was_compiled(rates, median, tmp_path):
    run = Run(tmp_path, 1.0, [{"images_per_second": rate} for rate in rates])
    assert run.images_per_second() == median
