"""The values a pipeline schedule is made of: actions, and a list of them for every pipeline rank.

A schedule says who computes what in which order and nothing else. What has to be communicated
follows from it (`communication.plan`), and so does how long it takes (`simulate`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["F", "B"]
FORWARD: Kind = "F"
BACKWARD: Kind = "B"


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """One piece of computation of one rank: the forward or the backward of one micro-batch."""

    kind: Kind
    """`"F"` for forward, `"B"` for backward (input and weight gradients)."""
    chunk: int = 0
    """Which of the rank's stages computes; 0 as long as every rank holds one stage."""
    micro_batch: int
    """Number of the micro-batch inside the step, from 0."""

    def __str__(self) -> str:
        chunk = f" of chunk {self.chunk}" if self.chunk else ""
        return f"{self.kind}{self.micro_batch}{chunk}"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What every pipeline rank computes in one step, in order."""

    name: str
    """What people call it, for pictures and messages."""
    micro_batches: int
    """Number of micro-batches of the step."""
    ranks: tuple[tuple[Action, ...], ...]
    """The actions of each rank in the order in which it computes them."""
    live_bound: tuple[int, ...]
    """For each rank the number of micro-batches whose activations it holds at most; `check`
    refuses a schedule that breaks its own promise."""
    chunks: int = 1
    """Number of stages that each rank holds."""
    forward_only: bool = False
    """Evaluation: no backward, nothing is kept."""

    @property
    def stages(self) -> int:
        """Number of stages of the whole pipeline."""
        return self.chunks * len(self.ranks)

    def stage(self, rank: int, chunk: int) -> int:
        """Return the pipeline stage that `chunk` of `rank` is: stages are dealt to the ranks in
        turn.
        """
        return chunk * len(self.ranks) + rank

    def rank_of(self, stage: int) -> int:
        """Return the rank that holds `stage`."""
        return stage % len(self.ranks)
