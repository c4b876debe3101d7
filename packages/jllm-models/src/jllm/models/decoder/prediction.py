"""Multi-token prediction (MTP, arXiv:2412.19437 §2.2): modules after the last layer, for training.

Where the model predicts the next token of every position, module k = 1 … n predicts the one k
further on. It joins the output below it with the embedding of the token k positions ahead, and
applies a layer of its own:

    hₖ(i) = norm(layer(join [token_norm(embedding(token i+k)); hidden_norm(hₖ₋₁(i))]))
    loss  += λ / n · Σ token losses of head(hₖ(i)) and the target i+k

h₀ is the model's hidden state after its last norm, as in vLLM and Transformers. The embedding and
the head's matrix are those of the model. Nothing is predicted beyond the end of a document.

Letters: T tokens, D hidden_size, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from jllm.models.config.decoder_config import DecoderConfig, PredictionConfig
from jllm.models.decoder.layer_units import attention_unit, mlp_unit
from jllm.models.decoder.loss import linear_cross_entropy
from jllm.models.experts.balance import BalanceTerms
from jllm.models.experts.moe import MoE
from jllm.models.layers.attention_backends import Attend
from jllm.models.layers.documents import Documents
from jllm.models.layers.linear import Linear
from jllm.models.layers.norm import RMSNorm
from jllm.models.layers.positions import Positions

UNTRAINED = -100


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """The inputs of predictions for a micro-batch, besides the hidden states."""

    tokens_T: Tensor
    """The model's input, int64."""
    documents: Documents
    positions: Positions
    balance: BalanceTerms | None
    """Terms with which the backward pass balances the experts."""


class Predictor(nn.Module):
    """One module: two norms, the projection that joins their results, a decoder layer, a norm."""

    def __init__(
        self,
        config: DecoderConfig,
        layer: int,
        attend: Attend,
        *,
        dtype: torch.dtype,
        device: torch.device | str,
    ):
        super().__init__()
        hidden, eps, place = config.hidden_size, config.norm_eps, {"dtype": dtype, "device": device}
        self.token_norm = RMSNorm(hidden, eps, **place)
        self.hidden_norm = RMSNorm(hidden, eps, **place)
        self.join = Linear(2 * hidden, hidden, **place)
        self.attention = attention_unit(config, layer, attend, **place)
        self.mlp = mlp_unit(config, layer, **place)
        self.norm = RMSNorm(hidden, eps, **place)

    def forward(self, hidden_TD: Tensor, embedded_TD: Tensor, context: Context) -> Tensor:
        """Return the hidden states for the head; [T, D]."""
        both = [self.token_norm(embedded_TD), self.hidden_norm(hidden_TD)]
        x_TD = self.join(torch.cat(both, dim=-1))
        x_TD = self.attention(x_TD, context.documents, context.positions)
        arguments = (context.balance,) if isinstance(self.mlp, MoE) else ()
        return self.norm(self.mlp(x_TD, *arguments))


class Prediction(nn.Module):
    """All modules of a model, and its embedding where the head does not have it.

    With a loss weight of 0 they are only held, without gradients, to be saved again.
    """

    def __init__(
        self,
        config: DecoderConfig,
        prediction: PredictionConfig,
        attend: Attend,
        embedding: Tensor | None,
        *,
        recompute: bool,
        chunk_tokens: int,
        dtype: torch.dtype,
        device: torch.device | str,
    ):
        super().__init__()
        place = {"dtype": dtype, "device": device}
        self.weight = prediction.loss_weight
        self.recompute, self.chunk_tokens = recompute, chunk_tokens
        layers = range(config.num_layers, config.num_layers + prediction.depth)
        self.layers = nn.ModuleList(Predictor(config, n, attend, **place) for n in layers)
        self.embedding: nn.Parameter | None = None
        if not self.weight:
            self.requires_grad_(False)
        elif not config.tie_word_embeddings:
            shape = (config.vocab_size, config.hidden_size)
            self.embedding = nn.Parameter(
                torch.empty(shape, **place) if embedding is None else embedding
            )
        self.losses = torch.zeros(prediction.depth, dtype=torch.float64, device=device)
        """Sum of the token losses of each module since `begin`."""
        self.counts = torch.zeros(prediction.depth, dtype=torch.int64, device=device)
        """Number of tokens in each of these sums."""

    def begin(self) -> None:
        """Reset the losses and counts for a new step."""
        self.losses.zero_()
        self.counts.zero_()

    def forward(
        self, hidden_TD: Tensor, matrix_VD: Tensor, targets_T: Tensor, context: Context
    ) -> Tensor:
        """Return λ / n · Σ token losses, an fp32 scalar; hidden: after the model's last norm."""
        embedding_VD = matrix_VD if self.embedding is None else self.embedding
        total = hidden_TD.new_zeros((), dtype=torch.float32)
        for index, layer in enumerate(self.layers):
            tokens_T = ahead(context.tokens_T, context.documents, index + 1, fill=0)
            wanted_T = ahead(targets_T, context.documents, index + 1, fill=UNTRAINED)
            embedded_TD = functional.embedding(tokens_T, embedding_VD)
            hidden_TD = self._run(layer, hidden_TD, embedded_TD, context)
            loss = linear_cross_entropy(hidden_TD, matrix_VD, wanted_T, self.chunk_tokens)
            self.losses[index] += loss.detach()
            self.counts[index] += (wanted_T != UNTRAINED).sum()
            total = total + loss
        return total * (self.weight / len(self.layers))

    def _run(self, layer: nn.Module, *arguments: Any) -> Tensor:
        """Run a module, keeping or recomputing its activations."""
        if not self.recompute:
            return layer(*arguments)
        return checkpoint(layer, *arguments, use_reentrant=False, preserve_rng_state=False)


def ahead(values_T: Tensor, documents: Documents, by: int, *, fill: int) -> Tensor:
    """Return, at each position, the value `by` positions ahead in its document, or `fill`."""
    at_T = torch.arange(by, len(values_T) + by, device=values_T.device)
    lengths = documents.cu_seqlens.diff()
    ends_T = documents.cu_seqlens[1:].repeat_interleave(lengths, output_size=len(values_T))
    moved_T = values_T[at_T.clamp(max=len(values_T) - 1)]
    return moved_T.masked_fill(at_T >= ends_T, fill)
