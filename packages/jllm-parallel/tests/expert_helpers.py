"""A tiny model with experts, and the options that balance them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from jllm.parallel.config.config import TrainConfig
from training_helpers import VOCABULARY, metrics, write_data

EXPERTS, CHOSEN, LAYERS = 4, 2, (1, 2)
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_experts_per_tok": CHOSEN,
    "moe_intermediate_size": 8,
    "norm_topk_prob": True,
    "initializer_range": 0.2,
}
QWEN3 = {
    **SIZES,
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "num_key_value_heads": 1,
    "head_dim": 8,
    "num_experts": EXPERTS,
    "mlp_only_layers": [0],
}
DEEPSEEK_V3 = {
    **SIZES,
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "num_key_value_heads": 2,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_nope_head_dim": 4,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "n_routed_experts": EXPERTS,
    "n_shared_experts": 1,
    "n_group": 2,
    "topk_group": 2,
    "first_k_dense_replace": 1,
    "max_position_embeddings": 64,
}
BIASES = tuple(f"model.layers.{layer}.mlp.gate.e_score_correction_bias" for layer in LAYERS)
BALANCED = {
    "sequence": (QWEN3, {"aux_loss_alpha": 0.02, "z_loss_alpha": 1e-3}),
    "global": (QWEN3, {"aux_loss_alpha": 0.02, "aux_loss_scope": "global"}),
    "bias": (DEEPSEEK_V3, {"aux_loss_alpha": 1e-3, "router_bias_update_rate": 0.01}),
}
"""A model and flags for each way to balance."""
BOUND = 1e-5
"""Losses after sums in another order. A step adds some units of 2⁻²⁴, and AdamW, which divides by
the size of a gradient, carries the rounding of small ones into the weights: found were 3e-7 in 12
steps, and 1.3e-5 in the norm, with MKL_CBWR=COMPATIBLE."""


def write_experts(folder: Path, **changes: object) -> str:
    """Writes the config.json of a model with experts into a new folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(QWEN3 | changes))
    return str(folder)


def balanced_run(folder: Path, name: str) -> TrainConfig:
    """Gives a run in one way of BALANCED that saves after 6 steps and at its end."""
    model, flags = BALANCED[name]
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(json.dumps(model))
    return experts_config(folder, model=str(folder / "model"), steps_per_checkpoint=6, **flags)


def experts_config(folder: Path, **changes: object) -> TrainConfig:
    """Gives a run of 12 steps from nothing, on rows that are not full."""
    values = {
        "model": changes.get("model") or write_experts(folder / "model"),
        "init": True,
        "train_data": str(write_data(folder / "data", 61, full=False)),
        "num_train_epochs": 2,
        "max_steps": 12,
        "learning_rate": 1e-3,
        "checkpoint": str(folder / "one"),
        "threads": 1,
    }
    return TrainConfig(**(values | changes))


def expert_lines(folder: Path) -> list[dict]:
    """Gives what a run's metrics say of losses and experts, step by step, to the last bit."""
    kept = ("step", "loss", "gradient_norm", "aux_loss", "z_loss", "expert_loads")
    return [{key: line[key] for key in kept} for line in metrics(folder)]


def biases(folder: Path, step: int) -> list[Tensor]:
    """Gives the routers' biases that a run saved; none for a model without."""
    saved = load_file(folder / str(step) / "model.safetensors")
    return [saved[name] for name in BIASES if name in saved]


def assert_close(one: Path, other: Path) -> None:
    """Compares two runs: loads and biases exactly, the rest within BOUND."""
    pairs = zip(biases(one, 12), biases(other, 12), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    for a, b in zip(expert_lines(one), expert_lines(other), strict=True):
        assert a.pop("expert_loads") == b.pop("expert_loads"), a["step"]
        assert b.pop("gradient_norm") == pytest.approx(a.pop("gradient_norm"), rel=1e-4)
        assert b == pytest.approx(a, rel=BOUND)
