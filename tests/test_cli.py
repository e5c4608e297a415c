import os
import pathlib
import subprocess
import sys

import jax
import pytest

import resnet_jax
from resnet_jax import cli

ROOT = pathlib.Path(__file__).resolve().parents[1]


def call(entry, *words):
    with pytest.raises(SystemExit) as caught:
        entry(words)
    return caught.value.code


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--confg=x"], "unknown argument '--confg=x'. Did you mean '--config=x'?"),
        (["--lr=1"], "Did you mean '--config.optimizer.learning_rate=1'?"),
        (["--lr", "1"], "Did you mean '--config.optimizer.learning_rate=1'?"),
        (["--batch-size=8"], "Did you mean '--config.batch_size=8'?"),
        (["--batch_size", "8"], "Did you mean '--config.batch_size=8'?"),
        (
            ["--workers=4"],
            "unknown argument '--workers=4'. Did you mean '--config.data.workers=4'?",
        ),
        (["--resume"], "unknown argument '--resume'. A run resumes by itself"),
        (["--epochs=5"], "unknown argument '--epochs=5'. Did you mean '--config.epochs=5'?"),
        (["--data=photos"], "Did you mean '--config.data.name=photos'?"),
        (["--output_dir", "runs/a"], "Did you mean '--workdir=runs/a'?"),
        (["--config.epochs", "5"], "write --config.epochs=5"),
        (["--xyzzy"], "unknown argument '--xyzzy'. Fields are --config.FIELD=VALUE"),
        (["--config.optimizer.lr=1"], "Did you mean 'learning_rate'?"),
        (["--mode=evaluate"], "argument --mode: invalid choice: 'evaluate'"),
        (["--config=configs/digit.py"], "unknown recipe configs/digit.py. Did you mean"),
        (["--config=configs/imagenet_rsb.py:a4"], "unknown procedure 'a4': choose a1, a2 or a3"),
        (["--config.optimizer.learning_rte=1"], "Did you mean 'learning_rate'?"),
        (["--config.epochs=ten"], "epochs='ten': must be a valid integer"),
        (["--config.batch_size=0"], "batch_size=0: must be greater than 0"),
        (["--config.batch_size=5000"], "batch_size=5000 does not fit a training split of"),
        (["--config.mesh.devices=999"], "mesh.devices=999: this machine has"),
        (
            ["--config.model.norm_group_size=64", "--config.accumulation=2"],
            "model.norm_group_size=64 does not divide the 32 images of a part of the batch",
        ),
        (
            ["--config.augment.mix_group_size=48"],
            "augment.mix_group_size=48 does not divide the 64 images of a batch",
        ),
        (["--config.model.name=resnet21"], "no model 'resnet21'. Did you mean"),
        (["--config.model.in_features=3"], "set model.in_features=1 or data.channels=3"),
        (["--config.model.num_classes=2"], "digits has 10 classes; set model.num_classes=10"),
        (["--config.data.name=digitz"], "'digitz'"),
        (["--config.data.test_split=tset"], "'tset'"),
        (["--config.schedule.warmup_epochs=1000"], "schedule.warmup_epochs=1000.0: longer than"),
        (["--mode=eval"], "no run in workdir"),
        (
            ["--mode=eval", "--step=x"],
            "--step: 'x' is not the number of a checkpoint or best",
        ),
    ],
)
def test_an_error_that_the_user_can_fix_is_one_line_and_status_2(words, message, tmp_path, capsys):
    assert call(cli.train, *words, f"--workdir={tmp_path / 'run'}") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "run").exists()


def test_offline_the_flag_is_the_one_of_training(tmp_path, capsys):
    words = ["--config.model.name=resnet50", "--config.finetune.weights=a1_in1k"]
    assert call(cli.train, *words, f"--workdir={tmp_path / 'run'}") == 2
    message = "pass its path as --config.finetune.weights=PATH, or set HF_HOME"
    assert message in capsys.readouterr().err


def test_without_published_weights_the_flag_is_the_one_of_the_command(capsys):
    assert call(cli.main, "predict", "frog.png", "--model=resnet20") == 2
    assert "for 'resnet20'; --weights=PATH loads your own file" in capsys.readouterr().err


def test_a_workdir_that_cannot_be_made_is_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert call(cli.train, f"--workdir={tmp_path / 'file' / 'run'}") == 2
    assert "Not a directory" in capsys.readouterr().err


def test_debug_shows_the_traceback():
    with pytest.raises(ValueError, match="unknown recipe"):
        cli.train(["--config=none.py", "--debug"])


def test_a_fault_of_a_library_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(cli.training, "run", lambda flags, overrides: int("x"))
    with pytest.raises(ValueError, match="invalid literal"):
        cli.train([])


def test_main_has_the_sub_commands(capsys):
    assert call(cli.main, "--help") == 0
    text = capsys.readouterr().out
    assert all(command.name in text for command in cli.COMMANDS)
    assert call(cli.main, "eval", "--workdir=nowhere") == 2
    assert "no run in workdir nowhere" in capsys.readouterr().err
    assert call(cli.main, "trian") == 2
    assert "invalid choice: 'trian'" in capsys.readouterr().err


def test_python_m_is_the_command_and_knows_its_version():
    done = subprocess.run(
        [sys.executable, "-m", "resnet_jax", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"resnet-jax {resnet_jax.__version__} (jax {jax.__version__}, ")


def test_flags_are_spelled_with_hyphens_or_underscores(capsys):
    for flag in ("--start-timeout=x", "--start_timeout=x"):
        assert call(cli.train, flag) == 2
        assert "argument --start-timeout: invalid int value" in capsys.readouterr().err


def test_train_py_as_a_process_says_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "--config.epochs=0"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: epochs=0: must be greater than 0\n"


@pytest.mark.slow
def test_train_resume_and_evaluate_as_processes(tmp_path):
    def train(*words):
        return subprocess.run(
            [sys.executable, str(ROOT / "train.py"), *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    schedule = ["--config.schedule.name=constant", "--config.schedule.warmup_epochs=0.0"]
    words = ["--config.model.name=resnet8", "--config.epochs=1", *schedule]
    first = train(*words)
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    accuracy = next(line for line in lines if line.startswith("test accuracy"))
    assert accuracy.endswith("of 360 images)")
    again = train(*words)
    first_line = again.stdout.splitlines()[0]
    assert first_line.startswith("the run in runs/digits is finished: nothing to do")
    for name in ("config.json", "metrics.jsonl", "curves.png", "tensorboard", "checkpoints/20"):
        assert (tmp_path / "runs" / "digits" / name).exists()
    # The lines at the end are commands that work where they are printed.
    (command,) = (line.split(maxsplit=1)[1] for line in lines if line.startswith("evaluate "))
    printed = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert printed.stdout.startswith(accuracy), printed.stderr
    evaluated = train("--mode=eval", "--workdir=runs/digits")
    assert evaluated.stdout.startswith(accuracy)
