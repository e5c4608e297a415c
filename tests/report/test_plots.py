import re
from xml.etree import ElementTree

from resnet_jax.report.plots import draw_charts, series
from resnet_jax.report.runs import read_runs


def test_charts_are_elements_in_the_colours_of_the_page(make_run, records):
    runs = read_runs([make_run("one"), make_run("two", records=records[:2])])
    charts = draw_charts(runs)
    titles = [chart.title for chart in charts]
    assert titles == ["Loss", "Accuracy", "Learning rate", "Throughput (images per second)"]
    for chart in charts:
        ElementTree.fromstring(chart.svg.replace("<svg ", '<svg xmlns="http://x" ', 1))
        assert not re.search(r"#[0-9a-f]{6}\b", chart.svg)
        assert "<style" not in chart.svg
        assert "var(--series-0)" in chart.svg
        assert "var(--series-1)" in chart.svg
        assert "currentColor" in chart.svg
    names = [name for chart in charts for name in re.findall(r'\bid="([^"]*)"', chart.svg)]
    assert len(names) == len(set(names))
    for chart in charts:
        used = set(re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', chart.svg))
        assert {a or b for a, b in used} <= set(names)


def test_what_nobody_recorded_is_not_drawn(make_run, records):
    runs = read_runs([make_run(records=[{"step": 10, "epoch": 1.0, "learning_rate": 0.1}])])
    assert [chart.title for chart in draw_charts(runs)] == ["Learning rate"]
    assert draw_charts(read_runs([make_run("empty", records=[])])) == []


def test_a_single_training_value_does_not_look_like_a_test_value(make_run, records):
    values = {"train_loss": 2.0, "test_loss": 1.0}
    runs = read_runs([make_run(records=[{"step": 3, "epoch": 0.3, **values}])])
    (loss,) = draw_charts(runs)
    shapes = re.findall(r'<path id="chart0-m[^"]*" d="([^"]*)"[^>]*stroke: var', loss.svg)
    assert len(set(shapes)) == 2
    assert ">0.00</text>" in loss.svg  # the epoch axis starts at 0


def test_a_loss_that_falls_far_is_on_a_logarithmic_scale(make_run, records):
    records[3]["train_loss"] = 1e-4
    records[0]["train_loss"] = 0.2
    loss = draw_charts(read_runs([make_run()]))[0]
    assert all(f">{tick}</text>" in loss.svg for tick in ("0.1", "0.01", "0.001"))


def test_the_same_runs_give_the_same_bytes(make_run):
    runs = read_runs([make_run()])
    assert draw_charts(runs) == draw_charts(runs)


def test_colours_are_reused():
    assert [series(index) for index in (0, 7, 8, 17)] == [0, 7, 0, 1]
