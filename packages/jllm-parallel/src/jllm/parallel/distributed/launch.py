"""The settings that the launcher gave this process, read without a heavy import."""

import dataclasses
import os
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class Launch:
    """The place of this process in the job, as given by the launcher (torchrun or deepspeed)."""

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Launch":
        """Read RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE; unset, they mean one process."""

        def number(name: str, default: int) -> int:
            return int(environment.get(name, default))

        size = number("WORLD_SIZE", 1)
        return cls(
            rank=number("RANK", 0),
            world_size=size,
            local_rank=number("LOCAL_RANK", 0),
            local_world_size=number("LOCAL_WORLD_SIZE", size),
        )
