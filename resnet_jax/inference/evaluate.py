"""Evaluates the checkpoints of a run."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import NamedTuple

from resnet_jax.training.checkpoints import Checkpoints
from resnet_jax.training.config import TrainConfig
from resnet_jax.training.evaluation import Evaluation, evaluate
from resnet_jax.training.setup import make_evaluator, variables_like
from resnet_jax.training.workdir import Workdir


class RunEvaluation(NamedTuple):
    """The result of a run's checkpoint on a split.

    Attributes:
        step: The number of the checkpoint.
        split: The split.
        result: Counts and loss.
    """

    step: int
    split: str
    result: Evaluation


def evaluate_run(
    workdir: str | pathlib.Path,
    *,
    split: str | None = None,
    step: int | None = None,
    batch_size: int | None = None,
    config: TrainConfig | None = None,
) -> RunEvaluation:
    """Evaluates a checkpoint of a run with the compiled evaluation step.

    Args:
        workdir: The folder of the run.
        split: A split in TFDS syntax; None takes the config's test split.
        step: The number of the checkpoint; None takes the last.
        batch_size: Images a step; it does not change the result. None takes the config's.
        config: Settings to use in place of those in the folder.

    Returns:
        The result; each image of the split counts once.

    Raises:
        ConfigError: The folder holds no run, or the split cannot be opened.
        CheckpointError: The checkpoint cannot be read.
    """
    files = Workdir(pathlib.Path(workdir))
    config = config or files.read_config()
    if batch_size is not None:
        config = dataclasses.replace(config, eval_batch_size=batch_size)
    evaluator = make_evaluator(config)
    split = split or config.data.test_split
    batches = evaluator.batches(split)
    with Checkpoints(files.checkpoints, config.checkpoint) as checkpoints:
        number, variables = checkpoints.restore_variables(
            variables_like(evaluator), averaged=config.ema is not None, step=step
        )
    result = evaluate(evaluator.eval_step, variables, batches, mesh=evaluator.mesh)
    return RunEvaluation(number, split, result)
