"""A model of how a plan executes, under the strictest rules of any communication library.

The rules are those of NCCL's grouped calls on one communicator:

* a rank executes its batches one after the other, in the order in which they were posted;
* a message starts once both sides are executing the batch that holds it (rendezvous), then takes
  its transfer time; nothing is buffered;
* a batch is done when all of its messages are; an action whose input arrives in a batch waits for
  the whole batch, any other action waits for no communication.

A plan that completes here completes on every back end. The model is deterministic, and whether a
plan completes does not depend on the durations.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from jllm.parallel.schedule.actions import Action
from jllm.parallel.schedule.plan import Batch, Message, Plan, RankPlan
from jllm.parallel.schedule.timeline import Span

Duration = Callable[[int, Action], float]
Transfer = Callable[[Message], float]


class Deadlock(ValueError):
    """Ranks that wait for each other forever; the message says which rank waits for what."""


def run(plan: Plan, duration: Duration, transfer: Transfer) -> tuple[tuple[Span, ...], ...]:
    """Return the spans of every rank, in time linear in the number of actions.

    `duration(rank, action)` and `transfer(message)` return seconds.

    Raises Deadlock where the plan cannot complete.
    """
    begun: dict[Message, list[float]] = {}
    ranks = [_Rank(rank_plan, duration, transfer, begun) for rank_plan in plan.ranks]
    to_visit = deque(ranks)
    while to_visit:
        for peer in to_visit.popleft().advance():
            to_visit.append(ranks[peer])
    stuck = [rank for rank in ranks if not rank.done]
    if stuck:
        raise Deadlock("the ranks wait for each other: " + "; ".join(map(str, stuck)))
    return tuple(tuple(rank.spans) for rank in ranks)


class _Rank:
    def __init__(
        self,
        plan: RankPlan,
        duration: Duration,
        transfer: Transfer,
        begun: dict[Message, list[float]],
    ) -> None:
        self.plan, self.duration, self.transfer = plan, duration, transfer
        self.begun = begun
        self.spans: list[Span] = []
        self.posted = [0.0]
        self.head = 0
        self.head_begun: float | None = None
        self.communicated = 0.0

    @property
    def done(self) -> bool:
        return self.head == len(self.plan.batches)

    def __str__(self) -> str:
        batch = self.plan.batches[self.head]
        missing = [str(m) for m in batch.messages if len(self.begun.get(m, ())) < 2]
        return f"rank {self.plan.rank} waits for {' and '.join(missing)}"

    def advance(self) -> set[int]:
        """Advance as far as possible, and return the ranks that this may unblock."""
        woken: set[int] = set()
        while self._compute() or self._communicate(woken):
            pass
        return woken

    def _compute(self) -> bool:
        index = len(self.spans)
        if index == len(self.plan.actions):
            return False
        start = self.posted[index]
        if self.plan.batches[index].receive is not None:
            if self.head <= index:
                return False
            start = max(start, self.communicated)
        action = self.plan.actions[index]
        end = start + self.duration(self.plan.rank, action)
        self.spans.append(Span(action=action, start=start, end=end))
        self.posted.append(end)
        return True

    def _communicate(self, woken: set[int]) -> bool:
        if self.done or self.head >= len(self.posted):
            return False
        batch = self.plan.batches[self.head]
        if self.head_begun is None:
            self.head_begun = max(self.posted[self.head], self.communicated)
            self._begin(batch, self.head_begun, woken)
        if any(len(self.begun[message]) < 2 for message in batch.messages):
            return False
        ends = (max(self.begun[m]) + self.transfer(m) for m in batch.messages)
        self.communicated = max(self.head_begun, *ends) if batch.messages else self.head_begun
        self.head, self.head_begun = self.head + 1, None
        return True

    def _begin(self, batch: Batch, now: float, woken: set[int]) -> None:
        for message in batch.messages:
            self.begun.setdefault(message, []).append(now)
            woken.add(message.target if message.source == self.plan.rank else message.source)
