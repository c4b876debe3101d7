"""Sizes of a run that follow from its flags and the number of processes."""

import dataclasses

from jllm.parallel.config.checks import problems
from jllm.parallel.config.config import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Sizes of a run that follow from its flags and the number of processes."""

    stages: int
    replicas: int
    micro_batches: int
    """Micro-batches per optimizer step and replica."""


def layout(config: TrainConfig, world_size: int) -> Layout:
    """Derive the layout.

    Raises:
        ValueError: all contradictions among the flags, one a line, each with its mend.
    """
    found = list(problems(config, world_size))
    if found:
        raise ValueError("\n".join(found))
    replicas = world_size // config.pipe_parallel_size
    return Layout(
        stages=config.pipe_parallel_size,
        replicas=replicas,
        micro_batches=config.global_batch_size // (replicas * config.micro_batch_size),
    )
