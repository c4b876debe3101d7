"""Flags: optimisation."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How long, and how, the weights are changed."""

    learning_rate: float = 3e-4
    """Peak learning rate of AdamW."""
    global_batch_size: int = 8
    """Rows per optimizer step, over all replicas, whatever the layout."""
    num_train_epochs: int = 1
    """Passes over the data (of a mixture: over as many rows as its data sets have together). 0: no
    training; with --output_dir, only write the model there."""
    max_steps: int = -1
    """Stop after this many optimizer steps, if the epochs have more. The learning rate ends
    there."""
    num_warmup_steps: float = 0.0
    """Steps of linear warm-up; below 1, the fraction of all steps."""
    lr_scheduler_type: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls to 0 after the warm-up."""
    weight_decay: float = 0.0
    """Decoupled weight decay of matrices; norms and biases have none."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this global norm. 0: never."""
    adam_beta1: float = 0.9
    """Decay of the first moment."""
    adam_beta2: float = 0.95
    """Decay of the second moment."""
    adam_epsilon: float = 1e-8
    """Added to the root of the second moment."""
    mtp_loss_weight: float = 0.0
    """Train the modules of multi-token prediction of a model that has some (DeepSeek-V3), with the
    mean of their losses times this (0.3 and later 0.1 there). 0: they are saved as they are. With
    --only_optimize_lora they are frozen too, and their loss trains the adapter."""
