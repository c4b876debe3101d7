"""Generators of schedules: GPipe, 1F1B, and the forward-only schedule of evaluation.

In all of them every rank takes the micro-batches in the order 0 … M−1, forward and backward. Every
layout therefore sums the gradients of a parameter in the same order, with bitwise equal results.
"""

from __future__ import annotations

from collections.abc import Callable

from jllm.parallel.schedule.actions import BACKWARD, FORWARD, Action, Kind, Schedule


def gpipe(stages: int, micro_batches: int) -> Schedule:
    """Return the GPipe schedule (Huang et al. 2019, arXiv:1811.06965): all forwards, all backwards.

    With S equal stages and M micro-batches a step takes (M + S − 1)·(forward + backward), as with
    1F1B, but each rank holds the activations of all M micro-batches.
    """
    _refuse_empty(stages, micro_batches)
    actions = (*_run(FORWARD, 0, micro_batches), *_run(BACKWARD, 0, micro_batches))
    return Schedule(
        name="GPipe",
        micro_batches=micro_batches,
        ranks=(actions,) * stages,
        live_bound=(micro_batches,) * stages,
    )


def one_f_one_b(stages: int, micro_batches: int) -> Schedule:
    """Return the 1F1B schedule (PipeDream-Flush, arXiv:2104.04473).

    After a warm-up, forwards and backwards alternate. Rank r is at most S − r − 1 forwards ahead
    of its backwards, so it holds the activations of at most S − r micro-batches, however many the
    step has.
    """
    _refuse_empty(stages, micro_batches)
    return Schedule(
        name="1F1B",
        micro_batches=micro_batches,
        ranks=tuple(_one_f_one_b_rank(stages - 1 - r, micro_batches) for r in range(stages)),
        live_bound=tuple(min(stages - r, micro_batches) for r in range(stages)),
    )


def forward_only(stages: int, micro_batches: int) -> Schedule:
    """Return the schedule of evaluation: forwards alone, no activations kept between them."""
    _refuse_empty(stages, micro_batches)
    return Schedule(
        name="forward only",
        micro_batches=micro_batches,
        ranks=(_run(FORWARD, 0, micro_batches),) * stages,
        live_bound=(1,) * stages,
        forward_only=True,
    )


GENERATORS: dict[str, Callable[[int, int], Schedule]] = {"gpipe": gpipe, "1f1b": one_f_one_b}
"""The training schedules by the names users give: (stages, micro_batches) → Schedule."""


def _one_f_one_b_rank(ahead: int, micro_batches: int) -> tuple[Action, ...]:
    warm_up = min(ahead, micro_batches)
    actions = list(_run(FORWARD, 0, warm_up))
    for i in range(micro_batches - warm_up):
        actions += _run(FORWARD, warm_up + i, warm_up + i + 1)
        actions += _run(BACKWARD, i, i + 1)
    return (*actions, *_run(BACKWARD, micro_batches - warm_up, micro_batches))


def _run(kind: Kind, start: int, stop: int) -> tuple[Action, ...]:
    return tuple(Action(kind=kind, micro_batch=m) for m in range(start, stop))


def _refuse_empty(stages: int, micro_batches: int) -> None:
    if stages < 1:
        raise ValueError(f"--pipe_parallel_size {stages}: a pipeline has at least 1 stage")
    if micro_batches < 1:
        raise ValueError(
            f"a step of {micro_batches} micro-batches: at least 1 is needed; "
            "raise --global_batch_size or lower the data-parallel size"
        )
