"""Predicting when each action of a plan runs, from the durations of actions and transfers."""

from __future__ import annotations

from collections.abc import Callable

from jllm.parallel.schedule import execution_model
from jllm.parallel.schedule.actions import FORWARD, Action
from jllm.parallel.schedule.plan import Message, Plan
from jllm.parallel.schedule.timeline import Timeline


def simulate(
    plan: Plan,
    duration: Callable[[int, Action], float],
    transfer: float | Callable[[Message], float] = 0.0,
) -> Timeline:
    """Return the timeline of `plan`, under the rules of `execution_model`.

    `duration(rank, action)` returns seconds. `transfer` is the seconds of every message, or a
    function from a message to its seconds. Takes about 10 µs per action.

    Raises `execution_model.Deadlock` where the plan cannot complete.
    """
    seconds = transfer if callable(transfer) else lambda _message: transfer
    spans = execution_model.run(plan, duration, seconds)
    return Timeline(name=plan.schedule.name, ranks=spans)


def stage_durations(
    forward: tuple[float, ...], backward: tuple[float, ...]
) -> Callable[[int, Action], float]:
    """Return the `duration` of `simulate`, given each rank's seconds per forward and backward."""
    return lambda rank, action: (forward if action.kind == FORWARD else backward)[rank]
