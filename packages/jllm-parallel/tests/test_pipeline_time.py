"""Executed on virtual clocks, a step takes exactly the simulated time, 1F1B the theoretical one.

Every rank is a thread with a clock of its own, which its actions and its waits set forward; what
the machine does beside them changes nothing. tools/bench/pipeline.py measures real seconds.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from jllm.parallel.pipeline.executor import run_step
from jllm.parallel.schedule.check import check
from jllm.parallel.schedule.generators import GENERATORS
from jllm.parallel.schedule.plan import Batch, Message, RankPlan
from jllm.parallel.schedule.simulate import simulate, stage_durations
from jllm.parallel.schedule.timeline import Span, Timeline

RANKS, MICRO_BATCHES = 4, 8
EVEN = ((5.0,) * RANKS, (10.0,) * RANKS)
UNEVEN = ((3.0, 5.0, 4.0, 6.0), (10.0, 5.0, 8.0, 10.0))
CASES = {"1f1b": ("1f1b", EVEN), "gpipe": ("gpipe", EVEN), "uneven": ("1f1b", UNEVEN)}
HANG = 60
"""Real seconds to wait for another thread; a step takes milliseconds of work."""


class Network:
    """When each message is sent and received. It moves when both sides have posted it."""

    def __init__(self) -> None:
        self._posted: dict[Message, list[float]] = {}
        self._changed = threading.Condition()

    def post(self, messages: tuple[Message, ...], now: float) -> None:
        """Say that one side is ready."""
        with self._changed:
            for message in messages:
                self._posted.setdefault(message, []).append(now)
            self._changed.notify_all()

    def moved(self, messages: tuple[Message, ...]) -> float:
        """Wait for the other sides; the time at which all have moved."""

        def both() -> bool:
            return all(len(self._posted[message]) == 2 for message in messages)

        with self._changed:
            assert self._changed.wait_for(both, HANG), f"nobody takes or sends {messages}"
            return max(max(self._posted[message]) for message in messages)


class VirtualRank:
    """Stands for the stage and the transport of a rank, and is its clock."""

    def __init__(self, network: Network, forward: float, backward: float) -> None:
        self.now, self._network = 0.0, network
        self._seconds = {"F": forward, "B": backward}

    def forward(self, _micro_batch: int, _inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self.now += self._seconds["F"]
        return (torch.zeros(1),)

    def backward(self, _micro_batch: int, _gradients: object) -> tuple[Tensor | None, ...]:
        self.now += self._seconds["B"]
        return (torch.zeros(1),)

    def start(self, batch: Batch, _tensors: object) -> VirtualExchange:
        self._network.post(batch.messages, self.now)
        return VirtualExchange(self, batch)

    def received(self, _message: Message, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tensors

    def wait(self, *messages: Message | None) -> None:
        """Set the clock to when these messages have moved."""
        waited = tuple(message for message in messages if message is not None)
        if waited:
            self.now = max(self.now, self._network.moved(waited))


class VirtualExchange:
    """A batch that a rank has posted."""

    def __init__(self, rank: VirtualRank, batch: Batch) -> None:
        self._rank, self._batch = rank, batch

    def wait_receive(self) -> tuple[Tensor, ...]:
        self._rank.wait(self._batch.receive)
        return (torch.zeros(1),)

    def wait_send(self) -> None:
        self._rank.wait(self._batch.send)


def run_rank(plan: RankPlan, rank: VirtualRank) -> tuple[Span, ...]:
    return run_step(plan, [rank], rank, clock=lambda: rank.now).spans


def execute(case: str) -> tuple[Timeline, Timeline]:
    """The timelines of the executed step and of the simulated one."""
    name, (forward, backward) = CASES[case]
    plan, network = check(GENERATORS[name](RANKS, MICRO_BATCHES)), Network()
    ranks = [VirtualRank(network, *seconds) for seconds in zip(forward, backward, strict=True)]
    with ThreadPoolExecutor(RANKS) as pool:
        spans = tuple(pool.map(run_rank, plan.ranks, ranks))
    return Timeline(name=case, ranks=spans), simulate(plan, stage_durations(forward, backward))


@pytest.mark.parametrize("case", sorted(CASES))
def test_every_action_runs_when_the_simulation_says(case: str) -> None:
    executed, simulated = execute(case)
    assert executed.ranks == simulated.ranks


def test_one_f_one_b_takes_its_theoretical_time() -> None:
    executed, _ = execute("1f1b")
    assert executed.step_time == (MICRO_BATCHES + RANKS - 1) * (5.0 + 10.0)
    assert executed.peak_live == (4, 3, 2, 1)
