"""Data types of a pipeline schedule: actions, and an ordered list of them for each pipeline rank.

A schedule holds only which rank computes what, and in which order. The communication (`plan`) and
the time a step takes (`simulate`) are derived from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["F", "B"]
FORWARD: Kind = "F"
BACKWARD: Kind = "B"


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """One computation on one rank: the forward or the backward of one micro-batch."""

    kind: Kind
    """`"F"` for forward, `"B"` for backward (input and weight gradients)."""
    chunk: int = 0
    """Index of the stage among those of the rank; always 0 where each rank holds one stage."""
    micro_batch: int
    """Index of the micro-batch in the step, from 0."""

    def __str__(self) -> str:
        chunk = f" of chunk {self.chunk}" if self.chunk else ""
        return f"{self.kind}{self.micro_batch}{chunk}"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The computation of every pipeline rank in one step, in order."""

    name: str
    """Name shown in pictures and messages."""
    micro_batches: int
    """Number of micro-batches of the step."""
    ranks: tuple[tuple[Action, ...], ...]
    """The actions of each rank, in the order of execution."""
    live_bound: tuple[int, ...]
    """For each rank, the most micro-batches whose activations it may hold at once. `check` refuses
    a schedule that exceeds this bound."""
    chunks: int = 1
    """Number of stages that each rank holds."""
    forward_only: bool = False
    """Whether this is an evaluation, which has no backward and keeps no activations."""

    @property
    def stages(self) -> int:
        """Number of stages of the whole pipeline."""
        return self.chunks * len(self.ranks)

    def stage(self, rank: int, chunk: int) -> int:
        """Return the pipeline stage of `chunk` on `rank`; stages are assigned to ranks in turn."""
        return chunk * len(self.ranks) + rank

    def rank_of(self, stage: int) -> int:
        """Return the rank that holds `stage`."""
        return stage % len(self.ranks)
