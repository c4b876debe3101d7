"""Flags: adapters."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Adapters:
    """Low-rank adapters (LoRA): trained with the model, or instead of it."""

    lora_dim: int = 0
    """Rank of a low-rank adapter (LoRA) of the modules of --lora_module_name. 0: none."""
    lora_alpha: float = 1.0
    """The adapter's product is multiplied with lora_alpha / lora_dim; lora_dim to twice of it is
    usual."""
    only_optimize_lora: bool = False
    """Train the adapter alone: the model is frozen and costs neither gradients nor moments.
    Otherwise the model is trained with it."""
    lora_module_name: str = "qkv_proj,o_proj,gate_up_proj,down_proj"
    """Modules that get an adapter: names of the model's own files (q_proj, c_attn, W_pack, …), the
    four fused ones, which every family has, or all-linear."""
    lora_adapter: str = ""
    """Start from this adapter, a directory that peft or jllm wrote, instead of a fresh one. Rank,
    scale and modules are its own."""
    only_ckpt_lora: bool = False
    """Save the adapter alone, for peft and vLLM, and what resuming needs. Otherwise the merged
    model is saved, and the adapter in a folder of it."""
    lora_rslora: bool = False
    """Multiply with lora_alpha / √lora_dim instead."""
