"""What an adapter is: its rank, its scale and the matrices it is of."""

import math
from dataclasses import dataclass

PREFIX = "base_model.model."
"""What `peft` puts before the name of an adapted module."""


@dataclass(frozen=True, kw_only=True)
class Lora:
    """An adapter of some matrices of a model."""

    rank: int
    """Rows of A and columns of B."""
    alpha: float
    """The product B · A is multiplied with alpha / rank, or with alpha / √rank."""
    rslora: bool = False
    """Take √rank (arXiv:2312.03732)."""
    tensors: frozenset[str]
    """Names of the Hugging Face tensors that have an adapter."""

    @property
    def scale(self) -> float:
        """What the product B · A is multiplied with."""
        return scale_of(self.alpha, self.rank, rslora=self.rslora)


def scale_of(alpha: float, rank: int, *, rslora: bool) -> float:
    """Return what B · A is multiplied with."""
    return alpha / (math.sqrt(rank) if rslora else rank)


def adapter_names(tensor: str) -> tuple[str, str]:
    """Return what `peft` calls A and B of a weight."""
    module = PREFIX + tensor.removesuffix(".weight")
    return f"{module}.lora_A.weight", f"{module}.lora_B.weight"
