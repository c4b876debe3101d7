"""A tiny model with experts, and the options that balance them."""

import json
from pathlib import Path

import pytest

from jllm.parallel.config import TrainConfig
from training_helpers import VOCABULARY, metrics, write_data

EXPERTS, CHOSEN, LAYERS = 4, 2, (1, 2)
MODEL = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "num_experts": EXPERTS,
    "num_experts_per_tok": CHOSEN,
    "moe_intermediate_size": 8,
    "norm_topk_prob": True,
    "mlp_only_layers": [0],
    "initializer_range": 0.2,
}
BALANCED = {
    "sequence": {"aux_loss_alpha": 0.02, "z_loss_alpha": 1e-3},
    "global": {"aux_loss_alpha": 0.02, "aux_loss_scope": "global"},
}
"""Flags of each way to balance."""


def write_experts(folder: Path, **changes: object) -> str:
    """Writes the config.json of a model with experts into a new folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(MODEL | changes))
    return str(folder)


def experts_config(folder: Path, **changes: object) -> TrainConfig:
    """Gives a run of 12 steps from nothing, on rows that are not full."""
    values = {
        "model": write_experts(folder / "model"),
        "init": True,
        "train_data": str(write_data(folder / "data", 61, full=False)),
        "num_train_epochs": 2,
        "max_steps": 12,
        "learning_rate": 1e-2,
        "checkpoint": str(folder / "one"),
        "threads": 1,
    }
    return TrainConfig(**(values | changes))


def expert_lines(folder: Path) -> list[dict]:
    """Gives what a run's metrics say of losses and experts, step by step, to the last bit."""
    kept = ("step", "loss", "gradient_norm", "aux_loss", "z_loss", "expert_loads")
    return [{key: line[key] for key in kept} for line in metrics(folder)]


def assert_close(one: Path, other: Path, bound: float) -> None:
    """Compares two runs: loads exactly, figures within a relative bound."""
    for a, b in zip(expert_lines(one), expert_lines(other), strict=True):
        assert a.pop("expert_loads") == b.pop("expert_loads"), a["step"]
        assert b == pytest.approx(a, rel=bound)
