"""A model's stage as the pipeline executor wants it: micro-batches in, hidden states or losses
out."""

from collections.abc import Sequence

import torch
from torch import Tensor

from jllm.models.documents import Documents
from jllm.models.stage import Stage
from jllm.parallel.feed import MicroBatch, StepData


class TrainingStage:
    """Computes with the micro-batches of the step it was last given."""

    def __init__(self, stage: Stage, device: torch.device) -> None:
        """Wraps a stage that lies on `device`."""
        self._stage, self._device = stage, device
        self._micro_batches: Sequence[MicroBatch] = ()
        self._scale = 1.0
        self.losses: list[Tensor] = []
        """Float32 sums of token losses, one a micro-batch, on the last stage."""

    def load(self, data: StepData) -> None:
        """Takes the micro-batches of the next step."""
        self._micro_batches, self._scale = data.micro_batches, 1.0 / max(1, data.trained_tokens)
        self.losses = []

    def __call__(self, inputs: tuple[Tensor, ...], micro_batch: int) -> tuple[Tensor, ...]:
        """Gives the hidden states [T, D], or the loss: Σ token losses ÷ the step's trained
        tokens."""
        data = self._micro_batches[micro_batch]
        documents = Documents.from_bounds(data.bounds, self._device)
        x = inputs[0] if data.tokens is None else self._move(data.tokens)
        if data.targets is None:
            return (self._stage(x, documents),)
        loss = self._stage(x, documents, self._move(data.targets))
        self.losses.append(loss.detach())
        return (loss * self._scale,)

    def _move(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, torch.int64, non_blocking=True)
