"""Flags: experts."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Experts:
    """For mixtures of experts alone: how the experts are kept in even use."""

    aux_loss_alpha: float = 0.0
    """Factor of each layer's auxiliary loss, which evens out how much the experts are used; 1e-4 to
    1e-2 are usual. 0: none."""
    router_bias_update_rate: float = 0.0
    """Where routers have a bias (DeepSeek-V3): how far each step moves that of an expert with less
    than the mean load up, with more down; 1e-3 is usual. 0: it stays."""
    z_loss_alpha: float = 0.0
    """Factor of each layer's router z-loss, which keeps the router's logits small; 1e-3 is usual.
    0: none."""
    aux_loss_scope: Literal["sequence", "global"] = "sequence"
    """What the auxiliary loss evens out: the use within each row, or within a global batch (by the
    loads of the step before)."""
    aux_loss_backward_scale: float = 1.0
    """What the gradients of auxiliary loss and z-loss are multiplied with, though their values are
    not."""
