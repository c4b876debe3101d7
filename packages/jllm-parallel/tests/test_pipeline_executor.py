"""The executor follows its plan to the letter; a stage keeps no more than its backward needs."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor

from jllm.parallel.pipeline.executor import SENDS_KEPT_IN_EVALUATION, run_step
from jllm.parallel.pipeline.module_stage import ModuleStage
from jllm.parallel.schedule.actions import Schedule
from jllm.parallel.schedule.check import check
from jllm.parallel.schedule.generators import forward_only, gpipe, one_f_one_b
from jllm.parallel.schedule.plan import Batch, Message


class Recorder:
    """Stands for stage, transport and exchange at once, and writes down what is asked of it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.unsent = self.most_unsent = 0

    def forward(self, micro_batch: int, _inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self.events.append(f"F{micro_batch}")
        return (torch.zeros(1),)

    def backward(self, micro_batch: int, _gradients: object) -> tuple[Tensor | None, ...]:
        self.events.append(f"B{micro_batch}")
        return (torch.zeros(1),)

    def start(self, batch: Batch, _tensors: object) -> Recorder:
        names = [f"{m.kind[0]}{m.micro_batch}" for m in batch.messages]
        ends = ["send"] * (batch.send is not None) + ["receive"] * (batch.receive is not None)
        self.events.append(" ".join(f"{e} {n}" for e, n in zip(ends, names, strict=True)))
        self.unsent += 1
        self.most_unsent = max(self.most_unsent, self.unsent)
        return self

    def wait_receive(self) -> tuple[Tensor, ...]:
        return (torch.zeros(1),)

    def wait_send(self) -> None:
        self.unsent -= 1

    def received(self, _message: Message, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tensors


def record(schedule: Schedule, rank: int) -> Recorder:
    recorder = Recorder()
    run_step(check(schedule).ranks[rank], [recorder], recorder)
    assert recorder.unsent == 0
    return recorder


def test_a_middle_rank_of_1f1b_computes_and_communicates_in_the_planned_order() -> None:
    assert record(one_f_one_b(3, 3), 1).events == [
        *("receive h0", "F0", "send h0 receive h1", "F1", "send h1 receive g0", "B0"),
        *("send g0 receive h2", "F2", "send h2 receive g1", "B1", "send g1 receive g2", "B2"),
        "send g2",
    ]


def test_the_first_rank_does_not_wait_for_its_sends_before_it_needs_something() -> None:
    assert record(gpipe(2, 6), 0).most_unsent == 6
    assert record(one_f_one_b(4, 6), 0).most_unsent == 4


def test_evaluation_runs_at_most_two_messages_ahead_of_the_next_rank() -> None:
    assert record(forward_only(2, 9), 0).most_unsent == SENDS_KEPT_IN_EVALUATION + 1


def test_spans_are_recorded_by_the_given_clock() -> None:
    ticks = iter(range(100))
    plan = check(one_f_one_b(1, 2)).ranks[0]
    spans = run_step(plan, [Recorder()], clock=lambda: float(next(ticks))).spans
    assert [(str(s.action), s.start, s.end) for s in spans] == [
        *(("F0", 0.0, 1.0), ("B0", 2.0, 3.0)),
        *(("F1", 4.0, 5.0), ("B1", 6.0, 7.0)),
    ]
    assert run_step(plan, [Recorder()]).spans == ()


def test_a_stage_keeps_its_inputs_but_not_its_outputs() -> None:
    weight = torch.ones(4, requires_grad=True)
    stage = ModuleStage(lambda inputs, _m: (inputs[0] * weight + 1,))
    (output,) = stage.forward(0, (torch.arange(4.0),))
    storage = weakref.ref(output.untyped_storage())
    del output
    gc.collect()
    assert storage() is None
    (gradient,) = stage.backward(0, (torch.full((4,), 2.0),))
    assert torch.equal(gradient, torch.full((4,), 2.0))
    assert torch.equal(weight.grad, 2 * torch.arange(4.0))


def test_integer_inputs_have_no_gradient_and_unused_ones_have_zeros() -> None:
    stage = ModuleStage(lambda inputs, _m: (inputs[0].sum(), inputs[2]))
    stage.forward(0, (torch.ones(2), torch.ones(3), torch.ones(2, dtype=torch.int64)))
    used, unused, integer = stage.backward(0, (torch.tensor(1.0), None))
    assert torch.equal(used, torch.ones(2)) and torch.equal(unused, torch.zeros(3))
    assert integer is None


def test_a_backward_without_its_forward_is_an_error() -> None:
    with pytest.raises(KeyError):
        ModuleStage(lambda inputs, _m: inputs).backward(3, ())
