"""What flags say without being typed."""

import dataclasses
from pathlib import Path

from jllm.parallel.config.config import TrainConfig


def with_implied(config: TrainConfig) -> TrainConfig:
    """Set the folder to save to of a run that continues another one, where none is named."""
    silent = not config.resume_ckpt or config.checkpoint or config.no_save
    if silent or not config.num_train_epochs:
        return config
    return dataclasses.replace(config, checkpoint=folder_of(Path(config.resume_ckpt)))


def folder_of(resumed: Path) -> str:
    """Return the folder of checkpoints that a path is, or lies in as the checkpoint of a step.

    "" for a checkpoint that lies elsewhere, under another name: what is beside it is unknown.
    """
    if not (resumed / "manifest.json").is_file():
        return str(resumed)
    return str(resumed.resolve().parent) if resumed.resolve().name.isdecimal() else ""
