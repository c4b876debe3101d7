"""A whole model that reads a document token by token and returns the logits of the next token.

After n tokens the logits are those of a full forward pass over these n tokens. A token costs one
pass over the weights and over the cache. With `dynamic` rotary embedding the rotation of all keys
depends on the length of the document, so all tokens are recomputed where a token changes the
frequencies: at each token beyond the original length or, in the first Qwen, where the length
doubles.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from jllm.models.decoder.head import Head
from jllm.models.decoder.stage import Stage
from jllm.models.generation.cache import KeyValueCache
from jllm.models.generation.latent_cache import LatentCache
from jllm.models.layers.attention import Attention
from jllm.models.layers.documents import Documents
from jllm.models.layers.latent_attention import LatentAttention
from jllm.models.layers.rotary import inverse_frequencies


class Decoder:
    """A decoder around a stage that holds all units. Do not train the stage afterwards.

    The stage is in evaluation mode, its attention units have a cache, and the rows of a normalised
    head are divided once.
    """

    def __init__(self, stage: Stage):
        assert stage.has_embedding and stage.has_head, stage.unit_range
        self._stage = stage.eval()
        self._tokens: list[int] = []
        for unit in stage.units.values():
            if isinstance(unit, Attention):
                unit.attend = KeyValueCache(unit.attend)
            elif isinstance(unit, LatentAttention):
                unit.attend = LatentCache(unit.attend)
            elif isinstance(unit, Head):
                unit.divide_rows_()

    def start(self, prompt: Sequence[int]) -> Tensor:
        """Start a new document with at least one token; return fp32 logits [V] of the next."""
        self._tokens = list(prompt)
        return self._logits(0)

    def append(self, token: int) -> Tensor:
        """Add a token to the document; return fp32 logits [V] of the next."""
        self._tokens.append(token)
        length = len(self._tokens)
        return self._logits(0 if self._is_stretched(length) else length - 1)

    def _is_stretched(self, length: int) -> bool:
        """Return whether the rotary frequencies at this length differ from those a token before."""
        rope, width = self._stage.config.rope, self._stage.config.rotary_dim
        if rope is None or rope.type != "dynamic":
            return False
        before, now = (inverse_frequencies(rope, width, n) for n in (length - 1, length))
        return not torch.equal(before, now)

    @torch.inference_mode()
    def _logits(self, past: int) -> Tensor:
        """Run the tokens after the first `past`."""
        device = next(self._stage.parameters()).device
        tokens_T = torch.tensor(self._tokens[past:], device=device)
        documents = Documents.continued(past, len(tokens_T), device)
        return self._stage.logits(tokens_T, documents, last=1)[0].float()
