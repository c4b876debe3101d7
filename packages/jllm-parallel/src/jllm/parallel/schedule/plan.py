"""What a schedule makes the ranks send and receive, as one batch between any two actions.

Before action i a rank posts one batch: it sends what action i−1 produced and receives what action
i needs. Both go out in one grouped call, so the exchange of neighbours (a hidden state down, a
gradient up) cannot deadlock even where a send completes only when it is received, as with NCCL and
HCCL.

Receives are not posted earlier than that. The grouped calls of a rank are executed one after the
other, so a receive that is posted early would hold up the sends behind it: the pipeline would fill
at half the speed. And in the steady state of 1F1B there is little to gain: rank r has S − r
micro-batches on their way, whose round trip contains the transfers wherever they are posted. The
price is that a rank may not need a message much later than its sender needs to be rid of it, or the
two wait for each other; `check` finds such schedules (an interleaved one can be of that kind).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jllm.parallel.schedule.actions import FORWARD, Action, Schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """The tuple of tensors that crosses one boundary for one micro-batch, in one direction."""

    source: int
    """Rank that sends."""
    target: int
    """Rank that receives."""
    kind: Literal["hidden", "gradient"]
    """`hidden` goes from stage b to b+1, `gradient` from b+1 to b."""
    boundary: int
    """b: the boundary between the stages b and b+1."""
    micro_batch: int
    """Number of the micro-batch."""

    def __str__(self) -> str:
        return (
            f"the {self.kind} of micro-batch {self.micro_batch} across boundary {self.boundary} "
            f"(rank {self.source} to rank {self.target})"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What a rank communicates between two actions, in one grouped call."""

    send: Message | None = None
    """What the action before produced, unless nobody needs it."""
    receive: Message | None = None
    """What the action after needs, unless it needs nothing."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages there are."""
        return tuple(m for m in (self.send, self.receive) if m is not None)


@dataclass(frozen=True, kw_only=True)
class RankPlan:
    """Everything one rank does in a step: batches[0], actions[0], batches[1], …, batches[-1]."""

    rank: int
    """Coordinate along the pp axis."""
    actions: tuple[Action, ...]
    """What is computed, n actions."""
    batches: tuple[Batch, ...]
    """What is communicated, n + 1 batches."""
    forward_only: bool
    """No backward follows; nothing is kept."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A schedule with its communication."""

    schedule: Schedule
    """What it was made from."""
    ranks: tuple[RankPlan, ...]
    """One plan a rank."""


def plan(schedule: Schedule) -> Plan:
    """Derive all communication of `schedule`. Pure; linear in the number of actions."""
    return Plan(
        schedule=schedule,
        ranks=tuple(_rank_plan(schedule, rank) for rank in range(len(schedule.ranks))),
    )


def link_orders(plan: Plan) -> dict[tuple[int, int], tuple[list[Message], list[Message]]]:
    """For every directed pair of ranks the messages in the sender's and in the receiver's order.

    Point-to-point messages carry no name: the n-th send meets the n-th receive, so the lists have
    to be equal.
    """
    orders: dict[tuple[int, int], tuple[list[Message], list[Message]]] = {}
    for rank_plan in plan.ranks:
        for batch in rank_plan.batches:
            for side, message in enumerate((batch.send, batch.receive)):
                if message is not None:
                    link = (message.source, message.target)
                    orders.setdefault(link, ([], []))[side].append(message)
    return orders


def _rank_plan(schedule: Schedule, rank: int) -> RankPlan:
    actions = schedule.ranks[rank]
    sends = [None, *(_produced(schedule, rank, action) for action in actions)]
    receives = [*(_needed(schedule, rank, action) for action in actions), None]
    return RankPlan(
        rank=rank,
        actions=actions,
        batches=tuple(
            Batch(send=send, receive=receive) for send, receive in zip(sends, receives, strict=True)
        ),
        forward_only=schedule.forward_only,
    )


def _produced(schedule: Schedule, rank: int, action: Action) -> Message | None:
    stage = schedule.stage(rank, action.chunk)
    if action.kind == FORWARD:
        return _message(schedule, stage, stage + 1, action.micro_batch)
    return _message(schedule, stage, stage - 1, action.micro_batch)


def _needed(schedule: Schedule, rank: int, action: Action) -> Message | None:
    stage = schedule.stage(rank, action.chunk)
    if action.kind == FORWARD:
        return _message(schedule, stage - 1, stage, action.micro_batch)
    return _message(schedule, stage + 1, stage, action.micro_batch)


def _message(schedule: Schedule, stage: int, to_stage: int, micro_batch: int) -> Message | None:
    if not (0 <= stage < schedule.stages and 0 <= to_stage < schedule.stages):
        return None
    return Message(
        source=schedule.rank_of(stage),
        target=schedule.rank_of(to_stage),
        kind="hidden" if to_stage > stage else "gradient",
        boundary=min(stage, to_stage),
        micro_batch=micro_batch,
    )
