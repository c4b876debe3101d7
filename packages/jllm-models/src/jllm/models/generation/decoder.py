"""A whole model that reads a document token by token and says what may come next.

After n tokens the logits are those of a full forward pass over these n tokens. A token costs one
pass over the weights and over the cache. `dynamic` rotary embedding turns every key of a document
by its length: where the frequencies change with a token, all tokens are computed again. That is
each token beyond the length that the model knew, or (first Qwen) those at which it doubles.
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
    """Takes a stage over that holds all units, for good: do not train it afterwards.

    It is in evaluation mode, attention units have a cache, a normalised head is divided once.
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
        """Begin a new document with at least one token; fp32 logits [V] of the next."""
        self._tokens = list(prompt)
        return self._logits(0)

    def append(self, token: int) -> Tensor:
        """Go on with a token; fp32 logits [V] of the next."""
        self._tokens.append(token)
        length = len(self._tokens)
        return self._logits(0 if self._is_stretched(length) else length - 1)

    def _is_stretched(self, length: int) -> bool:
        """Return whether a document of this length has other rotary frequencies than one token
        before.
        """
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
