"""Running one step of one pipeline rank: the actions of its plan and the messages between them.

The plan decides what is computed and communicated, and in which order. With one stage a plan has no
messages, and this is a plain loop without a process group.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from jllm.parallel.pipeline.transport import Exchange, Transport
from jllm.parallel.schedule.actions import FORWARD, Action
from jllm.parallel.schedule.plan import RankPlan
from jllm.parallel.schedule.timeline import Span

SENDS_KEPT_IN_EVALUATION = 2
"""Batches by which a rank without a backward may be ahead of the rank that receives from it."""


class PipelineStage(Protocol):
    """The computation of one stage; `ModuleStage` makes one from a callable."""

    def forward(self, micro_batch: int, inputs: tuple[Tensor, ...], /) -> tuple[Tensor, ...]:
        """Return the stage's outputs for `inputs`, which are () on the first stage.

        The outputs of the last stage are those of the step. Runs under `torch.no_grad` where no
        backward follows.
        """
        ...

    def backward(
        self, micro_batch: int, output_gradients: tuple[Tensor | None, ...], /
    ) -> tuple[Tensor | None, ...]:
        """Accumulate the gradients of parameters; return those of the inputs, None for integers.

        `output_gradients` is () on the last stage.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """The results of a step on this rank."""

    outputs: tuple[tuple[Tensor, ...], ...]
    """Outputs of the last stage for each micro-batch; () on other ranks."""
    spans: tuple[Span, ...]
    """Times of each action where a clock was given; () otherwise."""


def run_step(
    plan: RankPlan,
    stages: Sequence[PipelineStage],
    transport: Transport | None = None,
    *,
    clock: Callable[[], float] | None = None,
) -> StepResult:
    """Run all actions of `plan` on `stages`, the stages of this rank by chunk.

    `transport` may be None where the plan has no messages. `clock` returns seconds; for accurate
    spans on an accelerator it has to wait for the device. All sends have completed on return.

    Raises the error of a stage, with the action in its notes. The other ranks then fail when their
    process group times out or sees the connection close, and name the missing message.
    """
    outputs: list[tuple[Tensor, ...]] = []
    spans: list[Span] = []
    sending: deque[Exchange] = deque()
    produced: tuple[Tensor | None, ...] = ()
    with torch.set_grad_enabled(not plan.forward_only):
        for i, action in enumerate(plan.actions):
            received = _communicate(plan, i, produced, transport, sending)
            start = clock() if clock else 0.0
            produced = _compute(stages[action.chunk], action, received)
            if clock:
                spans.append(Span(action=action, start=start, end=clock()))
            if action.kind == FORWARD and plan.batches[i + 1].send is None:
                outputs.append(tuple(t for t in produced if t is not None))
        _communicate(plan, len(plan.actions), produced, transport, sending)
        _complete_sends(sending, keep=0)
    return StepResult(outputs=tuple(outputs), spans=tuple(spans))


def _communicate(
    plan: RankPlan,
    index: int,
    produced: tuple[Tensor | None, ...],
    transport: Transport | None,
    sending: deque[Exchange],
) -> tuple[Tensor | None, ...]:
    """Post batch `index`, wait for its receive, and complete the sends of earlier batches."""
    batch = plan.batches[index]
    if not batch.messages:
        return ()
    assert transport is not None, "a plan with messages needs a transport"
    exchange = transport.start(batch, produced)
    received: tuple[Tensor | None, ...] = ()
    if batch.receive is not None:
        received = transport.received(batch.receive, exchange.wait_receive())
        _complete_sends(sending, keep=0)
    sending.append(exchange)
    if plan.forward_only:
        _complete_sends(sending, keep=SENDS_KEPT_IN_EVALUATION)
    return received


def _complete_sends(sending: deque[Exchange], *, keep: int) -> None:
    while len(sending) > keep:
        sending.popleft().wait_send()


def _compute(
    stage: PipelineStage, action: Action, received: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    try:
        if action.kind == FORWARD:
            return stage.forward(action.micro_batch, tuple(t for t in received if t is not None))
        return stage.backward(action.micro_batch, received)
    except Exception as error:
        direction = "forward" if action.kind == FORWARD else "backward"
        error.add_note(f"in the {direction} of micro-batch {action.micro_batch}")
        raise
