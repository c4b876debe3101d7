"""Fresh weights: each Hugging Face tensor is a function of its name and the seed alone.

A model divided into any stages, shards or slices thus starts from the same values. Takes the host
memory of one whole tensor at a time.
"""

import hashlib
from itertools import groupby

import torch
from torch import Tensor

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.decoder.stage import Stage
from jllm.models.weights.table import weight_table


@torch.no_grad()
def initialize_(stage: Stage, config: DecoderConfig, seed: int) -> None:
    """Fill a stage: matrices normal(0, initializer_range), norms 1, biases 0, drawn in fp32."""
    tensors = stage.tensors()
    slices = weight_table(config, stage.unit_range)
    for (tensor, shape), pieces in groupby(slices, lambda piece: (piece.tensor, piece.shape)):
        values = initial_tensor(tensor, shape, config.initializer_range, seed)
        for piece in pieces:
            tensors[piece.parameter][piece.here_index].copy_(values[piece.there_index])


def initial_tensor(name: str, shape: tuple[int, ...], deviation: float, seed: int) -> Tensor:
    """Return the fresh fp32 tensor of a Hugging Face name."""
    if name.endswith("bias"):
        return torch.zeros(shape)
    if len(shape) == 1:
        return torch.ones(shape)
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    return torch.empty(shape).normal_(0.0, deviation, generator=generator)
