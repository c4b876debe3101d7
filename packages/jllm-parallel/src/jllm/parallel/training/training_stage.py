"""A model's stage as the pipeline executor wants it: micro-batches in, hidden states or losses
out."""

import torch
from torch import Tensor

from jllm.models.decoder.stage import Stage
from jllm.models.experts.balance import BalanceTerms
from jllm.models.layers.documents import Documents
from jllm.parallel.experts.load_balance import ExpertBalance
from jllm.parallel.feed.step_data import MicroBatch, StepData


class TrainingStage:
    """Computes with the micro-batches of the step it was last given."""

    def __init__(
        self, stage: Stage, device: torch.device, balance: ExpertBalance | None = None
    ) -> None:
        """Wrap a stage that lies on `device`; `balance` is that of its experts."""
        self._stage, self._device, self._balance = stage, device, balance
        self._step: StepData | None = None
        self.losses: list[Tensor] = []
        """Float32 sums of token losses, one a micro-batch, on the last stage."""

    def load(self, data: StepData) -> None:
        """Take the micro-batches of the next step."""
        self._step, self.losses = data, []

    def __call__(self, inputs: tuple[Tensor, ...], micro_batch: int) -> tuple[Tensor, ...]:
        """Return the hidden states [T, D], or the loss: Σ token losses ÷ the step's trained
        tokens."""
        assert self._step is not None
        data = self._step.micro_batches[micro_batch]
        documents = Documents.from_bounds(data.bounds, self._device)
        tokens = None if data.tokens is None else self._move(data.tokens)
        x = inputs[0] if inputs else tokens
        assert x is not None
        balance = self._terms(data)
        if data.targets is None:
            return (self._stage(x, documents, balance=balance),)
        loss = self._stage(x, documents, self._move(data.targets), balance, tokens)
        self.losses.append(loss.detach())
        return (loss * (1.0 / max(1, self._step.trained_tokens)),)

    def _terms(self, data: MicroBatch) -> BalanceTerms | None:
        assert self._step is not None
        if self._balance is None or not torch.is_grad_enabled():
            return None
        return self._balance.terms(self._step, data, self._device)

    def _move(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, torch.int64, non_blocking=True)
