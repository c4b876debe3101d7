"""The folders that a run writes to: which they are, and how other runs are kept out."""

import fcntl
from pathlib import Path
from typing import TextIO

from jllm.parallel.config.config import TrainConfig

METRICS = "metrics.jsonl"
"""File of a run's figures, in its folder of logs."""


def lock(folder: Path) -> TextIO:
    """Keeps other runs out of a folder for as long as the returned file is open.

    Raises:
        ValueError: another run has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = (folder / ".lock").open("w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        raise ValueError(f"{folder}: another run is writing there; name another folder") from None
    return held


def log_folder(config: TrainConfig) -> Path:
    """Gives the folder of metrics.jsonl and tensorboard/."""
    if config.log_dir or config.checkpoint:
        return Path(config.log_dir or config.checkpoint)
    return Path(f"{config.output_dir}_log" if config.output_dir else "jllm_log")
