"""The keys and values of past tokens, kept by an attention back end that continues a document.

Each attention unit has its own. It keeps the tokens that the layer's queries can still see: all, or
the last window. It takes up to twice their memory, so that adding a token does not move others.

Letters: T tokens, H query heads, G key/value heads, K head_dim, S tokens held.
"""

import torch
from torch import Tensor
from torch.nn import functional

from jllm.models.layers.attention_backends import Attend
from jllm.models.layers.documents import Documents


class KeyValueCache:
    """An `Attend` of one document: first the tokens of its beginning, then one token per call.

    Tokens without a past start a new document and go to the given back end, so a prompt costs as
    much as in training.
    """

    def __init__(self, attend: Attend):
        self._attend = attend
        self._room: Tensor | None = None
        """[2, G, room, K]: keys and values, of which `_held` are in use."""
        self._held = 0
        self._seen = 0

    def __call__(
        self,
        q_THK: Tensor,
        k_TGK: Tensor,
        v_TGK: Tensor,
        documents: Documents,
        *,
        window: int | None = None,
        bias_HLL: Tensor | None = None,
        scale: float | None = None,
    ) -> Tensor:
        """Attend to the past and to these tokens; [T, H, K]. Options as in `Attend`."""
        if documents.past == 0:
            self._room, self._held, self._seen = None, 0, 0
        assert len(documents.lengths) == 1 and documents.past == self._seen, documents
        keys_values = self._keep(torch.stack([k_TGK, v_TGK]).transpose(1, 2), window)
        if documents.past == 0:
            options = {"window": window, "bias_HLL": bias_HLL, "scale": scale}
            return self._attend(q_THK, k_TGK, v_TGK, documents, **options)
        assert len(q_THK) == 1, "a document goes on token by token"
        k_1GSK, v_1GSK = keys_values[:, None, :, -window if window else 0 :]
        out_1H1K = functional.scaled_dot_product_attention(
            q_THK.transpose(0, 1)[None],
            k_1GSK,
            v_1GSK,
            attn_mask=None if bias_HLL is None else bias_HLL[None],
            scale=scale,
            enable_gqa=q_THK.shape[1] != k_TGK.shape[1],
        )
        return out_1H1K[0].transpose(0, 1)

    def _keep(self, new_2GTK: Tensor, window: int | None) -> Tensor:
        """Add the keys and values of tokens; return all that are held, [2, G, S, K]."""
        tokens = new_2GTK.shape[2]
        self._seen += tokens
        if self._room is None or self._held + tokens > self._room.shape[2]:
            seen_later = self._held if window is None else min(self._held, window - 1)
            groups, width = new_2GTK.shape[1], new_2GTK.shape[3]
            room = new_2GTK.new_empty(2, groups, 2 * (seen_later + tokens), width)
            if self._room is not None and seen_later:
                room[:, :, :seen_later] = self._room[:, :, self._held - seen_later : self._held]
            self._room, self._held = room, seen_later
        self._room[:, :, self._held : self._held + tokens] = new_2GTK
        self._held += tokens
        return self._room[:, :, : self._held]
