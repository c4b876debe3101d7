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
    """The token embedding: a row of the weight per token."""

    def __init__(self, config: DecoderConfig, *, dtype: torch.dtype, device: torch.device | str):
        super().__init__()
        shape = (config.vocab_size, config.hidden_size)
        self.weight = nn.Parameter(torch.empty(shape, dtype=dtype, device=device))

    def forward(self, tokens_T: Tensor) -> Tensor:
        """Look up int64 tokens [T]; return hidden states [T, D]."""
        return functional.embedding(tokens_T, self.weight)


class Head(nn.Module):
    """Final norm and output matrix, which shares the storage of `weight` where that is given.

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

        context: with it the gradient includes that of the weighted losses of further predictions.
        """
        normed_TD, matrix_VD = self.norm(x_TD), self._matrix()
        loss = linear_cross_entropy(normed_TD, matrix_VD, targets_T, self.chunk_tokens)
        if context is None:
            return loss
        assert self.prediction is not None
        further = self.prediction(normed_TD, matrix_VD, targets_T, context)
        return loss + (further - further.detach())

    def logits(self, x_TD: Tensor) -> Tensor:
        """Return all logits [T, V] in the dtype of x; T·V elements, so for few tokens only."""
        return functional.linear(self.norm(x_TD), self._matrix())

    @torch.no_grad()
    def divide_rows_(self) -> None:
        """Normalise the rows of a normalised head in place: the same logits at less cost."""
        if self.normalised:
            self.weight.data, self.normalised = unit_rows(self.weight), False

    def _matrix(self) -> Tensor:
        """Return the matrix by which hidden states are multiplied."""
        return unit_rows(self.weight) if self.normalised else self.weight
