"""Computes one step of one pipeline rank: its plan, action by action, with the messages between.

What is computed and communicated, and in which order, is the plan's; nothing is decided here. With
one stage a plan holds no messages, and this is a plain loop without a process group.
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
"""Batches that a rank without backward may be ahead of the rank that receives from it."""


class PipelineStage(Protocol):
    """What a rank computes. `ModuleStage` makes one from a callable."""

    def forward(self, micro_batch: int, inputs: tuple[Tensor, ...], /) -> tuple[Tensor, ...]:
        """Return the stage's outputs for `inputs`, which are () on the first stage. What the last
        stage returns is the step's output. Runs under `torch.no_grad` when no backward follows."""
        ...

    def backward(
        self, micro_batch: int, output_gradients: tuple[Tensor | None, ...], /
    ) -> tuple[Tensor | None, ...]:
        """Accumulate the parameters' gradients and return those of the inputs, None for integers.

        `output_gradients` is () on the last stage.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step gave on this rank."""

    outputs: tuple[tuple[Tensor, ...], ...]
    """What the last stage returned, micro-batch by micro-batch; () on other ranks."""
    spans: tuple[Span, ...]
    """When each action ran, if there was a clock; () otherwise."""


def run_step(
    plan: RankPlan,
    stages: Sequence[PipelineStage],
    transport: Transport | None = None,
    *,
    clock: Callable[[], float] | None = None,
) -> StepResult:
    """Run all actions of `plan` on `stages`, this rank's stages by chunk.

    `transport` may be None when the plan holds no messages. `clock` gives seconds; for true spans
    on an accelerator it has to wait for the device. All sends have completed on return.

    An error of a stage is raised here with the action in its notes. The other ranks then fail when
    their process group times out or sees the connection close, and name the message they miss.
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
    """Post batch `index`, wait for what it receives, and let go of what has been sent long ago."""
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
