"""The first and the last unit: embedding, and final norm with output matrix and loss.

Letters: T tokens, D hidden_size, V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.decoder.loss import linear_cross_entropy
from jllm.models.decoder.prediction import Context, Prediction
from jllm.models.layers.norm import RMSNorm
from jllm.models.layers.row_norm import unit_rows


class Embedding(nn.Module):
    """One row of the weight for each token."""

    def __init__(self, config: DecoderConfig, *, dtype: torch.dtype, device: torch.device | str):
        super().__init__()
        shape = (config.vocab_size, config.hidden_size)
        self.weight = nn.Parameter(torch.empty(shape, dtype=dtype, device=device))

    def forward(self, tokens_T: Tensor) -> Tensor:
        """Look up int64 tokens [T]; hidden [T, D]."""
        return functional.embedding(tokens_T, self.weight)


class Head(nn.Module):
    """Final norm and output matrix; `weight` given means that storage is shared with it.

    prediction: the modules of multi-token prediction, which belong to this unit.
    """

    def __init__(
        self,
        config: DecoderConfig,
        weight: Tensor | None = None,
        *,
        prediction: Prediction | None = None,
        chunk_tokens: int,
        dtype: torch.dtype,
        device: torch.device | str,
    ):
        super().__init__()
        self.norm = RMSNorm(config.hidden_size, config.norm_eps, dtype=dtype, device=device)
        if weight is None:
            shape = (config.vocab_size, config.hidden_size)
            weight = torch.empty(shape, dtype=dtype, device=device)
        self.weight = nn.Parameter(weight)
        self.prediction = prediction
        self.chunk_tokens = chunk_tokens
        self.normalised = config.normalised_head

    def forward(self, x_TD: Tensor, targets_T: Tensor, context: Context | None = None) -> Tensor:
        """Return the sum of token losses, an fp32 scalar.

        context: lets the gradient be that of the predictions' weighted losses too.
        """
        normed_TD, matrix_VD = self.norm(x_TD), self._matrix()
        loss = linear_cross_entropy(normed_TD, matrix_VD, targets_T, self.chunk_tokens)
        if context is None:
            return loss
        assert self.prediction is not None
        further = self.prediction(normed_TD, matrix_VD, targets_T, context)
        return loss + (further - further.detach())

    def logits(self, x_TD: Tensor) -> Tensor:
        """Return the whole logits [T, V] in the dtype of x: T·V numbers, so for few tokens."""
        return functional.linear(self.norm(x_TD), self._matrix())

    @torch.no_grad()
    def divide_rows_(self) -> None:
        """Divide the rows of a normalised head for good: the same logits at less cost for each."""
        if self.normalised:
            self.weight.data, self.normalised = unit_rows(self.weight), False

    def _matrix(self) -> Tensor:
        """Return what hidden states are multiplied with."""
        return unit_rows(self.weight) if self.normalised else self.weight
