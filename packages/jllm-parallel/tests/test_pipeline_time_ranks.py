"""Sleeping stages: the executor takes the simulated time, and 1F1B nearly its theoretical time."""

from __future__ import annotations

import time

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import pipeline_ranks_helpers as helpers
from jllm.parallel.pipeline.boundary import TensorSpec
from jllm.parallel.pipeline.executor import StepResult, run_step
from jllm.parallel.pipeline.transport import Transport
from jllm.parallel.schedule.actions import Action
from jllm.parallel.schedule.check import check
from jllm.parallel.schedule.generators import GENERATORS
from jllm.parallel.schedule.simulate import simulate, stage_durations
from jllm.parallel.schedule.timeline import Span, Timeline

RANKS, MICRO_BATCHES, MOST_STEPS = 4, 8, 8
BOUNDARY = (TensorSpec(shape=(64, 64), dtype=torch.float32),)
EVEN = ((0.05,) * RANKS, (0.1,) * RANKS)
UNEVEN = ((0.03, 0.05, 0.04, 0.06), (0.1, 0.05, 0.08, 0.1))
CASES = {"1f1b": ("1f1b", EVEN), "gpipe": ("gpipe", EVEN), "uneven": ("1f1b", UNEVEN)}


class Sleeper:
    """A stage that computes nothing, for a given time."""

    def __init__(self, forward: float, backward: float, is_last: bool) -> None:
        self.seconds = {"F": forward, "B": backward}
        self.tensors = () if is_last else (torch.zeros(BOUNDARY[0].shape),)

    def forward(self, _micro_batch: int, _inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        time.sleep(self.seconds["F"])
        return self.tensors

    def backward(
        self, _micro_batch: int, _output_gradients: tuple[Tensor | None, ...]
    ) -> tuple[Tensor | None, ...]:
        time.sleep(self.seconds["B"])
        return (torch.zeros(BOUNDARY[0].shape),)


def sleep_steps(rank: int, group: dist.ProcessGroup) -> dict[str, Tensor]:
    """For each case the begin and the end of every action in each step, float64 [steps, n, 2]."""
    transport = Transport(group, [BOUNDARY] * (RANKS - 1), torch.device("cpu"))
    spans = {}
    for case, (name, (forward, backward)) in CASES.items():
        plan = check(GENERATORS[name](RANKS, MICRO_BATCHES))
        simulated = simulate(plan, stage_durations(forward, backward)).step_time
        stage = Sleeper(forward[rank], backward[rank], rank == RANKS - 1)
        steps = []
        for _ in range(MOST_STEPS):
            dist.barrier(group)
            result = run_step(plan.ranks[rank], [stage], transport, clock=time.monotonic)
            steps.append([(span.start, span.end) for span in result.spans])
            if step_time(result, group) <= simulated * 1.01:
                break
        spans[case] = torch.tensor(steps, dtype=torch.float64)
    return spans


def step_time(result: StepResult, group: dist.ProcessGroup) -> float:
    """Seconds from the first begin to the last end on all ranks, the same on every rank."""
    ends = torch.tensor([-result.spans[0].start, result.spans[-1].end], dtype=torch.float64)
    dist.all_reduce(ends, dist.ReduceOp.MAX, group)
    return float(ends.sum())


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Timeline]:
    """For each case the fastest of the executed steps: what else the machine does only adds."""
    parts = helpers.spawn(sleep_steps, RANKS, tmp_path_factory.mktemp("ranks"))
    best = {}
    for case, (name, _) in CASES.items():
        actions = GENERATORS[name](RANKS, MICRO_BATCHES).ranks
        steps = [
            Timeline(name=case, ranks=tuple(map(spans_of, actions, times)))
            for times in zip(*(part[case] for part in parts), strict=True)
        ]
        best[case] = min(steps, key=lambda timeline: timeline.step_time)
    return best


def spans_of(actions: tuple[Action, ...], times: Tensor) -> tuple[Span, ...]:
    pairs = zip(actions, times.tolist(), strict=True)
    return tuple(Span(action=action, start=start, end=end) for action, (start, end) in pairs)


@pytest.mark.parametrize("case", sorted(CASES))
def test_executed_and_simulated_step_times_agree_within_3_percent(
    case: str, executed: dict[str, Timeline]
) -> None:
    name, (forward, backward) = CASES[case]
    durations = stage_durations(forward, backward)
    simulated = simulate(check(GENERATORS[name](RANKS, MICRO_BATCHES)), durations)
    assert executed[case].step_time == pytest.approx(simulated.step_time, rel=0.03)


def test_one_f_one_b_reaches_0985_of_its_theoretical_time(executed: dict[str, Timeline]) -> None:
    theoretical = (MICRO_BATCHES + RANKS - 1) * (0.05 + 0.1)
    assert theoretical / executed["1f1b"].step_time >= 0.985
    assert executed["1f1b"].peak_live == (4, 3, 2, 1)
