"""An independent account of a plan: the graph of what waits for what, and its longest paths.

The rules of a communicator that executes grouped calls in order and without buffering, written
down as edges. A plan deadlocks exactly when the graph has a cycle; otherwise an action ends at the
length of the longest path to it.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from jllm.parallel.schedule.actions import Action
from jllm.parallel.schedule.plan import Plan

Node = tuple[str, int, int]
"""("compute" | "begin" | "end" of a batch, rank, index)"""


def graph(plan: Plan) -> dict[Node, set[Node]]:
    """Each node with those that it waits for."""
    waits: dict[Node, set[Node]] = {}
    ends: dict[object, list[tuple[int, int]]] = {}
    for r, rank in enumerate(plan.ranks):
        for i, batch in enumerate(rank.batches):
            waits["begin", r, i] = {("end", r, i - 1), ("compute", r, i - 1)} if i else set()
            waits["end", r, i] = {("begin", r, i)}
            if i < len(rank.actions):
                waits["compute", r, i] = {("compute", r, i - 1)} if i else set()
                if batch.receive:
                    waits["compute", r, i].add(("end", r, i))
            for message in batch.messages:
                ends.setdefault(message, []).append((r, i))
    for sides in ends.values():
        for r, i in sides:
            waits["end", r, i] |= {("begin", other, j) for other, j in sides}
    return waits


def deadlocks(plan: Plan) -> bool:
    """Whether the ranks wait for each other for ever."""
    try:
        TopologicalSorter(graph(plan)).prepare()
    except CycleError:
        return True
    return False


def end_times(
    plan: Plan, durations: dict[tuple[int, Action], float], transfer: float
) -> list[list[float]]:
    """When each action of each rank ends."""
    waits, ends = graph(plan), dict[Node, float]()
    for node in TopologicalSorter(waits).static_order():
        kind, r, i = node
        start = max((ends[before] for before in waits[node]), default=0.0)
        if kind == "compute":
            ends[node] = start + durations[r, plan.ranks[r].actions[i]]
        else:
            moves = kind == "end" and plan.ranks[r].batches[i].messages
            ends[node] = start + (transfer if moves else 0.0)
    return [
        [ends["compute", r, i] for i in range(len(rank.actions))]
        for r, rank in enumerate(plan.ranks)
    ]
