"""The folders that a run writes to: which they are, and how other runs are kept out."""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from jllm.parallel.config.config import TrainConfig

METRICS = "metrics.jsonl"
"""File of a run's figures, in its folder of logs."""


def check_folders(config: TrainConfig, sources: Mapping[str, Path]) -> None:
    """Refuse folders that a run could not write to, or in which it would spoil what it reads.

    Args:
        config: names the folders.
        sources: the folders that are read, by what to call them.

    Raises:
        ValueError: one is a file, lies in a folder that is read, or cannot be written.
    """
    folders = {flag: getattr(config, flag) for flag in ("checkpoint", "output_dir", "log_dir")}
    folders["log_dir"] = folders["log_dir"] or str(log_folder(config))
    for flag, name in folders.items():
        if not name:
            continue
        path = Path(name).absolute()
        there = next(place for place in (path, *path.parents) if place.exists())
        if not there.is_dir():
            raise ValueError(f"--{flag} {name}: {there} is a file; name a folder")
        for what, source in sources.items():
            if getattr(config, flag) and path.resolve().is_relative_to(source.resolve()):
                raise ValueError(
                    f"--{flag} {name}: lies in {what}, which is read; name a folder outside"
                )
        if not os.access(there, os.W_OK | os.X_OK):
            raise ValueError(f"--{flag} {name}: {there} cannot be written; name another folder")


def lock(folder: Path) -> TextIO:
    """Keep other runs out of a folder for as long as the returned file is open.

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
    """Return the folder of metrics.jsonl and tensorboard/."""
    if config.log_dir or config.checkpoint:
        return Path(config.log_dir or config.checkpoint)
    return Path(f"{config.output_dir}_log" if config.output_dir else "jllm_log")
