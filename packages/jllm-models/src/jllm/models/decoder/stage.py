"""A stage: a contiguous run of a model's units as one module, independent of ranks.

The whole model is the stage that holds all units. Parameters are named `units.<global index>.…`
however the model is divided, and results are bitwise the same.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from jllm.models.config.decoder_config import DecoderConfig, loss_chunk
from jllm.models.config.units import unit_count, unit_kind, unit_layer
from jllm.models.decoder.head import Embedding, Head
from jllm.models.decoder.layer_units import attention_unit, mlp_unit
from jllm.models.decoder.prediction import Context, Prediction
from jllm.models.experts.balance import BalanceTerms
from jllm.models.experts.moe import MoE
from jllm.models.layers.attention import Attention
from jllm.models.layers.attention_backends import attention_backend
from jllm.models.layers.documents import Documents
from jllm.models.layers.latent_attention import LatentAttention
from jllm.models.layers.positions import position_tables

ATTENTION = (Attention, LatentAttention)
"""The modules that take documents and positions."""


class Stage(nn.Module):
    """The units [units.start, units.stop) of a decoder, with uninitialised parameters.

    attention: name of the attention back end.
    recompute_interval: k > 0 drops the activations inside every k-th attention or MLP unit (by
        global index) and recomputes them in backward, with bitwise the same results. In the head,
        it applies to the modules of multi-token prediction.
    loss_chunk_tokens: trained tokens whose logits are held at once; None takes LOGITS_PER_CHUNK.
    """

    def __init__(
        self,
        config: DecoderConfig,
        units: range,
        *,
        attention: str = "sdpa",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        recompute_interval: int = 0,
        loss_chunk_tokens: int | None = None,
    ):
        super().__init__()
        if units.step != 1 or not 0 <= units.start < units.stop <= unit_count(config):
            raise ValueError(f"units must be a run within 0…{unit_count(config)}, found {units}")
        self.config = config
        self.unit_range = units
        self.recompute_interval = recompute_interval
        self.has_embedding = units.start == 0
        self.has_head = units.stop == unit_count(config)
        chunk = loss_chunk_tokens or loss_chunk(config)
        place = {"dtype": dtype, "device": device}
        self.units = nn.ModuleDict()
        embedding: Tensor | None = None
        attend = attention_backend(attention)
        for unit in units:
            match unit_kind(config, unit):
                case "embed":
                    module = Embedding(config, **place)
                    embedding = module.weight.detach()
                case "attention":
                    module = attention_unit(config, unit_layer(unit), attend, **place)
                case "mlp":
                    module = mlp_unit(config, unit_layer(unit), **place)
                case _:
                    every = recompute_interval
                    prediction = None
                    if config.prediction:
                        prediction = Prediction(
                            config,
                            config.prediction,
                            attend,
                            embedding,
                            recompute=every > 0 and unit % every == 0,
                            chunk_tokens=chunk,
                            **place,
                        )
                    shared = embedding if config.tie_word_embeddings else None
                    options = {"prediction": prediction, "chunk_tokens": chunk}
                    module = Head(config, shared, **options, **place)
            self.units[str(unit)] = module

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the weight table: parameters, and buffers (the routers' bias)."""
        named = (*self.named_parameters(), *self.named_buffers())
        return {name: tensor.detach() for name, tensor in named}

    def forward(
        self,
        x: Tensor,
        documents: Documents,
        targets: Tensor | None = None,
        balance: BalanceTerms | None = None,
        tokens: Tensor | None = None,
    ) -> Tensor:
        """Run the units over T flat tokens.

        x: int64 tokens [T] where the stage holds the embedding, else hidden states [T, D].
        targets: int64 [T], −100 where nothing is trained; needed with the head.
        balance: terms with which the backward pass balances the experts; None for none.
        tokens: int64 [T]; needed with the head but not the embedding, for multi-token prediction.
        Returns hidden states [T, D] or, with the head, the fp32 sum of token losses, whose gradient
        includes that of the weighted losses of multi-token prediction.
        """
        hidden = self._body(x, documents, balance)
        if not self.has_head:
            return hidden
        if targets is None:
            raise ValueError("the stage with the head needs targets; for logits call logits()")
        prediction = self.config.prediction
        if not (prediction and prediction.loss_weight and torch.is_grad_enabled()):
            return self._head(hidden, targets)
        tokens = x if self.has_embedding else tokens
        if tokens is None:
            raise ValueError("the stage that predicts further tokens needs the tokens")
        positions = position_tables(self.config, documents, hidden.dtype, training=self.training)
        context = Context(
            tokens_T=tokens, documents=documents, positions=positions, balance=balance
        )
        return self._head(hidden, targets, context)

    def logits(self, x: Tensor, documents: Documents, *, last: int | None = None) -> Tensor:
        """Return logits [T, V] of a stage that holds the head; x as in forward.

        last: number of final tokens whose logits are returned, [last, V]; None for all.
        """
        x = self._body(x, documents)
        return self._head.logits(x if last is None else x[-last:])

    @property
    def _head(self) -> Head:
        """The last unit of a stage that holds the head."""
        head = self.units[str(unit_count(self.config) - 1)]
        assert isinstance(head, Head)
        return head

    def _body(self, x: Tensor, documents: Documents, balance: BalanceTerms | None = None) -> Tensor:
        """Run every unit but the head."""
        positions = None
        for name, unit in self.units.items():
            if isinstance(unit, ATTENTION) and positions is None:
                positions = position_tables(self.config, documents, x.dtype, training=self.training)
            if isinstance(unit, Head):
                break
            match unit:
                case Attention() | LatentAttention():
                    x = self._run(int(name), unit, x, documents, positions)
                case MoE():
                    x = self._run(int(name), unit, x, balance)
                case _:
                    x = self._run(int(name), unit, x)
        return x

    def _run(self, index: int, unit: nn.Module, *arguments: Any) -> Tensor:
        """Run one unit, keeping or recomputing its activations."""
        interval = self.recompute_interval
        recompute = interval > 0 and index % interval == 0 and not isinstance(unit, Embedding)
        if not (recompute and torch.is_grad_enabled()):
            return unit(*arguments)
        return checkpoint(unit, *arguments, use_reentrant=False, preserve_rng_state=False)
