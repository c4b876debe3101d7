"""Fresh adapters: A uniform in ±1/√in, as in `peft`, and B zero, so that they add nothing.

Each tensor is a function of its name and the seed, and so the same on every layout.
"""

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from jllm.models.decoder.stage import Stage
from jllm.models.lora.settings import Lora
from jllm.models.lora.table import adapter_table


@torch.no_grad()
def initialize_adapter_(stage: Stage, lora: Lora, seed: int) -> None:
    """Fill the adapters of a stage with fresh values."""
    fill_adapter_(stage, lora, lambda name, shape: fresh(name, shape, seed))


@torch.no_grad()
def fill_adapter_(
    stage: Stage, lora: Lora, values_of: Callable[[str, tuple[int, ...]], Tensor]
) -> None:
    """Fill the adapters of a stage from whole tensors, which `values_of(name, shape)` returns."""
    parameters = dict(stage.named_parameters())
    held: tuple[str, Tensor] | None = None
    for piece in adapter_table(stage.config, stage.unit_range, lora):
        if held is None or held[0] != piece.tensor:
            held = (piece.tensor, values_of(piece.tensor, piece.shape))
        parameters[piece.parameter][piece.here_index].copy_(held[1][piece.there_index])


def fresh(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Return the fresh fp32 tensor of an adapter."""
    if name.endswith(".lora_B.weight"):
        return torch.zeros(shape)
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    bound = shape[1] ** -0.5
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)
