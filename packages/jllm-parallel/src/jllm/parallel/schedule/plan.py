"""The communication of a schedule: one batch of messages between any two actions of a rank.

Before action i a rank posts one batch: it sends the result of action i−1 and receives the input of
action i. Both go out in one grouped call, so neighbours that exchange (a hidden state down, a
gradient up) cannot deadlock, even where a send completes only once it is received, as with NCCL
and HCCL.

Receives are not posted earlier than that. A rank executes its grouped calls one after the other,
so an early receive would hold up the sends behind it, and the pipeline would fill at half the
speed. In the steady state of 1F1B there would be little to gain: rank r has S − r micro-batches in
flight, and their round trip contains the transfers wherever they are posted. The price is a
deadlock where a rank needs a message much later than its sender has to be rid of it. `check` finds
such schedules (an interleaved one can be of that kind).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jllm.parallel.schedule.actions import FORWARD, Action, Schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """The tensors of one micro-batch that cross one boundary in one direction."""

    source: int
    """Rank that sends."""
    target: int
    """Rank that receives."""
    kind: Literal["hidden", "gradient"]
    """`hidden` goes from stage b to b+1, `gradient` from b+1 to b."""
    boundary: int
    """Index b of the boundary between the stages b and b+1."""
    micro_batch: int
    """Index of the micro-batch in the step, from 0."""

    def __str__(self) -> str:
        return (
            f"the {self.kind} of micro-batch {self.micro_batch} across boundary {self.boundary} "
            f"(rank {self.source} to rank {self.target})"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """The messages of a rank between two actions, in one grouped call."""

    send: Message | None = None
    """The result of the action before; None where no other rank needs it."""
    receive: Message | None = None
    """The input of the action after; None where it needs none."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages of the batch, without None."""
        return tuple(m for m in (self.send, self.receive) if m is not None)


@dataclass(frozen=True, kw_only=True)
class RankPlan:
    """The work of one rank in a step: batches[0], actions[0], batches[1], …, batches[-1]."""

    rank: int
    """Coordinate along the pp axis."""
    actions: tuple[Action, ...]
    """The computation: n actions."""
    batches: tuple[Batch, ...]
    """The communication: n + 1 batches."""
    forward_only: bool
    """Whether no backward follows, so that no activations are kept."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A schedule with its communication."""

    schedule: Schedule
    """Schedule that the plan was derived from."""
    ranks: tuple[RankPlan, ...]
    """One plan per rank."""


def plan(schedule: Schedule) -> Plan:
    """Derive the communication of `schedule`, in time linear in the number of actions."""
    return Plan(
        schedule=schedule,
        ranks=tuple(_rank_plan(schedule, rank) for rank in range(len(schedule.ranks))),
    )


def link_orders(plan: Plan) -> dict[tuple[int, int], tuple[list[Message], list[Message]]]:
    """Return, for every directed pair of ranks, the messages in the order of sender and receiver.

    Point-to-point messages carry no name: the n-th send matches the n-th receive, so the two lists
    have to be equal.
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
