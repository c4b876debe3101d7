"""The cache of multi-head latent attention: the latent vectors of past tokens.

It keeps C + R elements per token and layer, whatever the number of heads. The query of a token is
multiplied by the matrix of the keys, and the result of attention by the matrix of the values
(arXiv:2405.04434 §2.1.2), so the keys and values of past tokens are never computed.

Letters: T tokens, H heads, K head_dim (N of it not rotated, R rotated), V width of a value, C width
of the latent vector, X = N + V, S tokens held.
"""

import torch
from torch import Tensor

from jllm.models.layers.documents import Documents
from jllm.models.layers.latent_attention import AttendLatent


class LatentCache:
    """An `AttendLatent` of one document: first the tokens of its beginning, then one per call.

    Tokens without a past start a new document and go to the given back end, as in training.
    """

    def __init__(self, attend: AttendLatent):
        self._attend = attend
        self._room: Tensor | None = None
        """[room, C + R]: latent vectors and rotated keys, of which `_held` are in use."""
        self._held = 0

    def __call__(
        self,
        q_THK: Tensor,
        latent_TC: Tensor,
        key_TR: Tensor,
        up_HXC: Tensor,
        documents: Documents,
        *,
        scale: float,
    ) -> Tensor:
        """Attend to the past and to these tokens; [T, H, V]."""
        if documents.past == 0:
            self._room, self._held = None, 0
        assert len(documents.lengths) == 1 and documents.past == self._held, documents
        held = self._keep(torch.cat([latent_TC, key_TR], dim=1))
        if documents.past == 0:
            return self._attend(q_THK, latent_TC, key_TR, up_HXC, documents, scale=scale)
        assert len(q_THK) == 1, "a document goes on token by token"
        plain, width = q_THK.shape[2] - key_TR.shape[1], latent_TC.shape[1]
        q_H1K = q_THK.transpose(0, 1)
        q_H1C = q_H1K[:, :, :plain] @ up_HXC[:, :plain]
        scores_HS = torch.cat([q_H1C, q_H1K[:, :, plain:]], dim=-1)[:, 0] @ held.T * scale
        shares_HS = scores_HS.softmax(dim=-1, dtype=torch.float32).to(q_THK.dtype)
        mixed_H1C = (shares_HS @ held[:, :width])[:, None]
        return (mixed_H1C @ up_HXC[:, plain:].transpose(1, 2)).transpose(0, 1)

    def _keep(self, new: Tensor) -> Tensor:
        """Add tokens [T, C + R]; return all that are held."""
        tokens = len(new)
        if self._room is None or self._held + tokens > len(self._room):
            room = new.new_empty(2 * (self._held + tokens), new.shape[1])
            if self._room is not None:
                room[: self._held] = self._room[: self._held]
            self._room = room
        self._room[self._held : self._held + tokens] = new
        self._held += tokens
        return self._room[: self._held]
