"""Checking a schedule before it runs."""

from __future__ import annotations

from collections import Counter

from jllm.parallel.schedule import execution_model
from jllm.parallel.schedule.actions import BACKWARD, FORWARD, Action, Schedule
from jllm.parallel.schedule.plan import Plan, link_orders, plan
from jllm.parallel.schedule.timeline import peak_live


def check(schedule: Schedule) -> Plan:
    """Check `schedule` and return its plan.

    Every rank computes each of its actions exactly once, every forward before its backward, and
    both in the order of the micro-batches, so that gradients are summed in the same order on every
    layout. No rank holds more activations than `live_bound` allows. Both ends of every link agree
    on the order of the messages. All ranks finish even where a send completes only together with
    its receive. Takes about 20 µs per action.

    Raises ValueError that describes the first defect.
    """
    if len(schedule.live_bound) != len(schedule.ranks):
        raise ValueError(
            f"schedule {schedule.name}: {len(schedule.live_bound)} activation bounds for "
            f"{len(schedule.ranks)} ranks"
        )
    for rank in range(len(schedule.ranks)):
        _check_complete(schedule, rank)
        _check_order(schedule, rank)
        _check_activations(schedule, rank)
    planned = plan(schedule)
    _check_links(planned)
    try:
        execution_model.run(planned, lambda _rank, _action: 1.0, lambda _message: 1.0)
    except execution_model.Deadlock as deadlock:
        raise execution_model.Deadlock(f"schedule {schedule.name}: {deadlock}") from None
    return planned


def _check_complete(schedule: Schedule, rank: int) -> None:
    kinds = (FORWARD,) if schedule.forward_only else (FORWARD, BACKWARD)
    wanted = {
        Action(kind=kind, chunk=chunk, micro_batch=m)
        for kind in kinds
        for chunk in range(schedule.chunks)
        for m in range(schedule.micro_batches)
    }
    counts = Counter(schedule.ranks[rank])
    for action, count in counts.items():
        if action not in wanted:
            raise ValueError(f"schedule {schedule.name}, rank {rank}: {action} does not belong")
        if count > 1:
            raise ValueError(f"schedule {schedule.name}, rank {rank}: {action} occurs {count}×")
    missing = sorted(map(str, wanted - counts.keys()))
    if missing:
        raise ValueError(f"schedule {schedule.name}, rank {rank}: {missing[0]} is missing")


def _check_order(schedule: Schedule, rank: int) -> None:
    next_micro_batch: Counter[tuple[str, int]] = Counter()
    for action in schedule.ranks[rank]:
        where = f"schedule {schedule.name}, rank {rank}: {action}"
        expected = next_micro_batch[action.kind, action.chunk]
        if action.micro_batch != expected:
            raise ValueError(
                f"{where} comes before micro-batch {expected}; the order is 0, 1, 2, …"
            )
        if action.kind == BACKWARD and next_micro_batch[FORWARD, action.chunk] <= expected:
            raise ValueError(f"{where} comes before its forward")
        next_micro_batch[action.kind, action.chunk] += 1


def _check_activations(schedule: Schedule, rank: int) -> None:
    if schedule.forward_only:
        return
    found, bound = peak_live(schedule.ranks[rank]), schedule.live_bound[rank]
    if found > bound:
        raise ValueError(
            f"schedule {schedule.name}, rank {rank}: activations of {found} micro-batches are held "
            f"at once, at most {bound} are promised"
        )


def _check_links(planned: Plan) -> None:
    for (source, target), (sent, received) in link_orders(planned).items():
        for n, (ours, theirs) in enumerate(zip(sent, received, strict=False)):
            if ours != theirs:
                raise ValueError(
                    f"schedule {planned.schedule.name}: message {n} from rank {source} to rank "
                    f"{target} is sent as {ours} and received as {theirs}"
                )
        if len(sent) != len(received):
            raise ValueError(
                f"schedule {planned.schedule.name}: {len(sent)} messages are sent from rank "
                f"{source} to rank {target}, {len(received)} are received"
            )
