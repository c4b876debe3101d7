"""What a run begins from, made known before anything else: the checkpoint, and its settings."""

import dataclasses
from collections.abc import Callable, Collection
from pathlib import Path

from jllm.parallel.config.config import TrainConfig
from jllm.parallel.config.continued import continued
from jllm.parallel.config.implied import with_implied
from jllm.parallel.distributed.launch import Launch


def prepared(
    config: TrainConfig, typed: Collection[str] | None, say: Callable[[str], None]
) -> TrainConfig:
    """Return the run with what flags imply and what the checkpoint's run had.

    Args:
        config: as the flags say.
        typed: names of the flags that somebody typed; None for all.
        say: told which checkpoint is used, which are passed over, and which settings differ.

    Raises:
        ValueError: there is no checkpoint to begin from.
    """
    config = with_implied(config)
    root = config.resume_ckpt or config.from_ckpt
    if not root:
        return config
    from jllm.parallel.checkpoint.folder import find, passed_over
    from jllm.parallel.checkpoint.state import read_state

    found = find(Path(root), config.tag or None)
    resumes = bool(config.resume_ckpt and config.num_train_epochs)
    does = "continues" if resumes else "takes the weights of"
    say(f"{does} {found.path}, {found.manifest.step:,} steps on")
    for fault in passed_over(Path(root), found):
        say(f"passed over: {fault}")
    if resumes:
        config, lines = continued(config, read_state(found.path)["flags"], typed)
        for line in lines:
            say(f"  {line}")
    return config


def planned(config: TrainConfig, launch: Launch) -> Launch:
    """Return the processes of a dry run, which may be more than there are."""
    if not (config.dry_run and config.world_size):
        return launch
    return dataclasses.replace(launch, world_size=config.world_size)
