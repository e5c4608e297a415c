import pytest

from resnet_jax import cli


def call(*words):
    with pytest.raises(SystemExit) as caught:
        cli.main(["report", *map(str, words)])
    return caught.value.code


def test_the_command_writes_a_page_and_names_it(make_run, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert call(make_run("one"), make_run("two"), f"--out={page}") == 0
    out, err = capsys.readouterr()
    assert out == f"{page}\n"
    assert err == "evaluating one\nevaluating two\n"
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert call(tmp_path / "one", f"--out={page}", "--no-eval") == 0
    assert capsys.readouterr().err == ""


def test_bad_arguments_are_one_line(tmp_path, capsys):
    for words, message in (
        ([tmp_path], "no run in workdir"),
        ([__file__], "it is a file; give the folder of a run"),
        ([], "the following arguments are required: RUN"),
        ([tmp_path, "--mistakes=-1"], "mistakes=-1: give 0 or more"),
        ([tmp_path, "--mistakes=x"], "invalid int value: 'x'"),
        ([tmp_path, f"--out={tmp_path}"], "is a folder; name a file"),
    ):
        assert call(*words) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert message in err
