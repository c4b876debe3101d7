"""Choosing a token from logits: the likeliest, or a drawn one.

A drawn token is a function of logits, options, seed and its number in the answer, on every device:
the random number is a hash, and the sum over the vocabulary is computed in float64 on the host.

Letters: V vocabulary, S tokens by descending logit.
"""

import hashlib

import torch
from torch import Tensor

from jllm.models.generation.options import Sampling


def choose(logits_V: Tensor, sampling: Sampling, number: int) -> int:
    """Return the token of the `number`-th choice; logits fp32, the lower id first among equals.

    Raises ValueError where logits are not finite.
    """
    if not bool(logits_V.isfinite().all()):
        raise ValueError(
            "the model's logits are not finite numbers: its weights are damaged, or too large for "
            "--dtype; try --dtype float32"
        )
    if sampling.temperature == 0:
        return int((logits_V == logits_V.max()).nonzero()[0, 0])
    scaled_V = logits_V.cpu().double() / sampling.temperature
    scaled_S, tokens_S = scaled_V.sort(descending=True, stable=True)
    probabilities_S = scaled_S[: sampling.top_k].softmax(0)
    reached_S = probabilities_S.cumsum(0)
    kept = int((reached_S - probabilities_S < sampling.top_p).sum())
    drawn = uniform(sampling.seed, number) * reached_S[kept - 1]
    place = int(torch.searchsorted(reached_S[:kept], drawn, right=True))
    return int(tokens_S[min(place, kept - 1)])


def uniform(seed: int, number: int) -> float:
    """Return a pseudo-random number in [0, 1): 53 bits of a hash."""
    digest = hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2**53
