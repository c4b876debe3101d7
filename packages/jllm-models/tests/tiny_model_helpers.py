"""Tiny random Transformers models, and the same weights in our stages."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from deepseek_helpers import DEEPSEEK
from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.units import unit_count
from jllm.models.decoder.load import load_stage
from jllm.models.decoder.stage import Stage
from jllm.models.families import read_config
from jllm.models.layers.documents import Documents
from jllm.models.weights.table import is_buffer, weight_table

SIZES = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "rms_norm_eps": 1e-3,  # no family's default
    "initializer_range": 0.05,
}

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 100.0,
    "factor": 4.0,
    "original_max_position_embeddings": 8,
}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 24}

MODELS: dict[str, tuple[type, type, dict[str, Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
    "llama-tied": (LlamaConfig, LlamaForCausalLM, {"tie_word_embeddings": True}),
    "llama-bias": (LlamaConfig, LlamaForCausalLM, {"attention_bias": True, "head_dim": 12}),
    "llama-linear": (
        LlamaConfig,
        LlamaForCausalLM,
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0}},
    ),
    "llama-dynamic": (
        LlamaConfig,
        LlamaForCausalLM,
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 2.0}},
    ),
    "llama-llama3": (LlamaConfig, LlamaForCausalLM, {"rope_parameters": LLAMA3}),
    "llama-yarn": (LlamaConfig, LlamaForCausalLM, {"rope_parameters": YARN}),
    "mistral": (MistralConfig, MistralForCausalLM, {"sliding_window": None}),
    "mistral-window": (MistralConfig, MistralForCausalLM, {"sliding_window": 7}),
    "olmo2": (Olmo2Config, Olmo2ForCausalLM, {"pad_token_id": None}),
    "olmo2-tied-bias": (
        Olmo2Config,
        Olmo2ForCausalLM,
        {"pad_token_id": None, "tie_word_embeddings": True, "attention_bias": True},
    ),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
    "qwen2-window": (
        Qwen2Config,
        Qwen2ForCausalLM,
        {"use_sliding_window": True, "sliding_window": 10, "max_window_layers": 1},
    ),
    "qwen2-tied-yarn": (
        Qwen2Config,
        Qwen2ForCausalLM,
        {"tie_word_embeddings": True, "rope_parameters": YARN},
    ),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 12}),
    "qwen3-tied-bias": (
        Qwen3Config,
        Qwen3ForCausalLM,
        {"head_dim": 16, "tie_word_embeddings": True, "attention_bias": True},
    ),
    "qwen3-window": (
        Qwen3Config,
        Qwen3ForCausalLM,
        {
            "head_dim": 8,
            "use_sliding_window": True,
            "sliding_window": 2,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    ),
    "qwen2-moe": (
        Qwen2MoeConfig,
        Qwen2MoeForCausalLM,
        {**EXPERTS, "shared_expert_intermediate_size": 40},
    ),
    "qwen2-moe-sparse-window": (
        Qwen2MoeConfig,
        Qwen2MoeForCausalLM,
        {
            **EXPERTS,
            "shared_expert_intermediate_size": 32,
            "norm_topk_prob": True,
            "decoder_sparse_step": 2,
            "qkv_bias": False,
            "use_sliding_window": True,
            "sliding_window": 5,
        },
    ),
    "qwen3-moe": (Qwen3MoeConfig, Qwen3MoeForCausalLM, {**EXPERTS, "norm_topk_prob": True}),
    "qwen3-moe-dense-window": (
        Qwen3MoeConfig,
        Qwen3MoeForCausalLM,
        {
            **EXPERTS,
            "moe_intermediate_size": 22,  # no multiple of what grouped_mm takes
            "head_dim": 12,
            "mlp_only_layers": [1],
            "attention_bias": True,
            "tie_word_embeddings": True,
            "use_sliding_window": True,
            "sliding_window": 7,
        },
    ),
    **DEEPSEEK,
}


def reference_model(name: str, **changes: Any) -> PreTrainedModel:
    """Return the tiny Transformers model of that name, every parameter random."""
    config_class, model_class, options = MODELS[name]
    config = config_class(**{**SIZES, **options, **changes})
    plain = {"attn_implementation": "eager", "experts_implementation": "eager"}
    model = model_class._from_config(config, **plain)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.empty(parameter.shape).normal_(0, 0.2, generator=generator)
            parameter.copy_(noise if parameter.dim() > 1 else parameter + noise)
        for name, buffer in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer.normal_(0, 0.2, generator=generator)
    return model


def saved(model: PreTrainedModel, directory: Path) -> DecoderConfig:
    """Save a Transformers model and read its configuration back as ours."""
    model.save_pretrained(directory)
    return read_config(directory)


def loaded_stage(directory: Path, units: range | None = None, **options: Any) -> Stage:
    """Load a stage, by default the whole model, from a directory."""
    config = read_config(directory)
    stage = Stage(config, units or range(unit_count(config)), **options)
    load_stage(stage, config, directory)
    return stage


def random_tokens(count: int, seed: int = 0) -> Tensor:
    """Return int64 tokens of the tiny vocabulary."""
    return torch.randint(
        SIZES["vocab_size"], (count,), generator=torch.Generator().manual_seed(seed)
    )


def random_targets(count: int, seed: int = 1) -> Tensor:
    """Return targets of which about a third are −100."""
    targets = random_tokens(count, seed)
    untrained = random_tokens(count, seed + 1) < SIZES["vocab_size"] // 3
    return targets.masked_fill(untrained, -100)


def reference_loss(model: PreTrainedModel, tokens: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of token losses of one document by Transformers."""
    logits = model(input_ids=tokens[None], use_cache=False).logits[0]
    return functional.cross_entropy(logits.float(), targets, ignore_index=-100, reduction="sum")


def gradients(stage: Stage) -> dict[str, Tensor]:
    """Return the gradient of every Hugging Face tensor; the two of a tied one are added."""
    parameters = dict(stage.named_parameters())
    found: dict[str, Tensor] = {}
    for piece in weight_table(stage.config, stage.unit_range):
        if is_buffer(piece):
            continue
        gradient = parameters[piece.parameter].grad
        assert gradient is not None, piece.parameter
        whole = found.setdefault(piece.tensor, torch.zeros(piece.shape))
        whole[piece.there_index] += gradient[piece.here_index]
    return found


def reference_gradients(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return the gradients of Transformers by their names in files, where experts are apart."""
    found = {}
    for name, parameter in model.named_parameters():
        before, fused, after = name.partition(".experts.")
        if not fused:
            found[name] = parameter.grad
            continue
        for number, gradient in enumerate(parameter.grad):
            expert = f"{before}.experts.{number}"
            if after == "down_proj":
                found[f"{expert}.down_proj.weight"] = gradient
            else:
                gate, up = gradient.chunk(2)
                found |= {f"{expert}.gate_proj.weight": gate, f"{expert}.up_proj.weight": up}
    return found


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Return ‖ours − theirs‖ / ‖theirs‖ in float64; where theirs is 0, so must be ours."""
    ours, theirs = ours.detach().double(), theirs.detach().double()
    return float((ours - theirs).norm() / theirs.norm().clamp(min=1e-30))


def one_document(length: int) -> Documents:
    """Return the bounds of one document."""
    return Documents.from_bounds([0, length])
