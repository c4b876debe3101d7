"""The settings of an adapter: its rank, its scale and the adapted matrices."""

import math
from dataclasses import dataclass

PREFIX = "base_model.model."
"""Prefix of the names of adapted modules in `peft`."""


@dataclass(frozen=True, kw_only=True)
class Lora:
    """The settings of an adapter of some matrices of a model."""

    rank: int
    """Number of rows of A and of columns of B."""
    alpha: float
    """Numerator of the scale of B · A, which is alpha / rank or alpha / √rank."""
    rslora: bool = False
    """Whether the scale is alpha / √rank (arXiv:2312.03732)."""
    tensors: frozenset[str]
    """Names of the Hugging Face tensors that have an adapter."""

    @property
    def scale(self) -> float:
        """The factor of B · A."""
        return scale_of(self.alpha, self.rank, rslora=self.rslora)


def scale_of(alpha: float, rank: int, *, rslora: bool) -> float:
    """Return the factor of B · A."""
    return alpha / (math.sqrt(rank) if rslora else rank)


def adapter_names(tensor: str) -> tuple[str, str]:
    """Return the names of a weight's A and B in `peft`."""
    module = PREFIX + tensor.removesuffix(".weight")
    return f"{module}.lora_A.weight", f"{module}.lora_B.weight"
