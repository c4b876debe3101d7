"""Sleeping stages: the executor takes the simulated time, and 1F1B nearly its theoretical time."""

from __future__ import annotations

import time

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import pipeline_ranks_helpers as helpers
from jllm.parallel.pipeline.boundary import TensorSpec
from jllm.parallel.pipeline.executor import run_step
from jllm.parallel.pipeline.transport import Transport
from jllm.parallel.schedule.actions import Action
from jllm.parallel.schedule.check import check
from jllm.parallel.schedule.generate import GENERATORS
from jllm.parallel.schedule.simulate import simulate, stage_durations
from jllm.parallel.schedule.timeline import Span, Timeline

RANKS, MICRO_BATCHES, STEPS = 4, 8, 3
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
    """For each case the begin and the end of every action, float64 [steps, actions, 2]."""
    transport = Transport(group, [BOUNDARY] * (RANKS - 1), torch.device("cpu"))
    spans = {}
    for case, (name, (forward, backward)) in CASES.items():
        plan = check(GENERATORS[name](RANKS, MICRO_BATCHES)).ranks[rank]
        stage = Sleeper(forward[rank], backward[rank], rank == RANKS - 1)
        steps = []
        for _ in range(STEPS):
            dist.barrier(group)
            result = run_step(plan, [stage], transport, clock=time.monotonic)
            steps.append([(span.start, span.end) for span in result.spans])
        spans[case] = torch.tensor(steps, dtype=torch.float64)
    return spans


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Timeline]:
    """For each case the fastest of the executed steps."""
    parts = helpers.spawn(sleep_steps, RANKS, tmp_path_factory.mktemp("ranks"))
    best = {}
    for case, (name, _) in CASES.items():
        actions = GENERATORS[name](RANKS, MICRO_BATCHES).ranks
        steps = [
            Timeline(name=case, ranks=tuple(map(spans_of, actions, (p[case][i] for p in parts))))
            for i in range(STEPS)
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
