"""Tiny random directories of families that came with their own code, as their files lie."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.families import read_config
from naive_model_helpers import (
    baichuan_7b_logits,
    baichuan_13b_logits,
    internlm2_logits,
    qwen_logits,
)
from tiny_model_helpers import MODELS, SIZES, reference_model, saved

HIDDEN, INNER, VOCABULARY, LAYERS = 48, 80, 97, 3
PLAIN = {k: v for k, v in SIZES.items() if k not in ("num_key_value_heads", "num_hidden_layers")}
PLAIN |= {"num_hidden_layers": LAYERS, "hidden_act": "silu", "rms_norm_eps": 1e-5}
QWEN = {
    "architectures": ["QWenLMHeadModel"],
    "model_type": "qwen",
    "hidden_size": HIDDEN,
    "intermediate_size": 2 * INNER,
    "num_attention_heads": 6,
    "kv_channels": 8,
    "num_hidden_layers": LAYERS,
    "vocab_size": VOCABULARY,
    "layer_norm_epsilon": 1e-5,
    "rotary_emb_base": 100,
    "rotary_pct": 1.0,
    "seq_length": 16,
    "max_position_embeddings": 128,
    "no_bias": True,
    "attn_dropout_prob": 0.0,
    "emb_dropout_prob": 0.0,
    "use_dynamic_ntk": True,
    "use_logn_attn": True,
    "tie_word_embeddings": False,
}
INTERNLM2 = PLAIN | {
    "architectures": ["InternLM2ForCausalLM"],
    "num_key_value_heads": 2,
    "rope_theta": 100.0,
    "bias": False,
}
BAICHUAN = PLAIN | {"architectures": ["BaichuanForCausalLM"], "model_max_length": 32}
ALIBI = {key: value for key, value in BAICHUAN.items() if key != "max_position_embeddings"}

OWN_CODE: dict[str, tuple[dict[str, Any], Callable[..., Tensor]]] = {
    "qwen": (QWEN, qwen_logits),
    "qwen-plain": (QWEN | {"use_dynamic_ntk": False, "use_logn_attn": False}, qwen_logits),
    "internlm2": (INTERNLM2, internlm2_logits),
    "internlm2-bias-linear": (
        INTERNLM2 | {"bias": True, "rope_scaling": {"type": "linear", "factor": 2.0}},
        internlm2_logits,
    ),
    "internlm2-dynamic": (
        INTERNLM2 | {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
        internlm2_logits,
    ),
    "baichuan-7b": (BAICHUAN | {"architectures": ["BaiChuanForCausalLM"]}, baichuan_7b_logits),
    "baichuan-13b": (ALIBI, baichuan_13b_logits),
    "baichuan2-7b": (BAICHUAN | {"z_loss_weight": 0}, baichuan_7b_logits),
    "baichuan2-13b": (ALIBI | {"z_loss_weight": 0}, baichuan_13b_logits),
}
"""Name of a tiny model → its `config.json`, and the naive function that is its reference."""


def write_own_code(name: str, directory: Path) -> dict[str, Tensor]:
    """Write the directory of that name; return its tensors."""
    values, _ = OWN_CODE[name]
    generator = torch.Generator().manual_seed(7)
    tensors = {}
    for tensor, shape in _SHAPES[name.split("-")[0].rstrip("2")](values).items():
        noise = torch.empty(shape).normal_(0, 0.2, generator=generator)
        norm = len(shape) == 1 and not tensor.endswith("bias")
        tensors[tensor] = noise + 1 if norm else noise
    directory.mkdir(exist_ok=True)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    auto_map = {"AutoModelForCausalLM": "modeling_own.Model"}
    (directory / "config.json").write_text(json.dumps(values | {"auto_map": auto_map}))
    return tensors


def _qwen(values: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"transformer.wte.weight": (VOCABULARY, HIDDEN)}
    for layer in range(LAYERS):
        for name, shape in (
            ("ln_1.weight", (HIDDEN,)),
            ("attn.c_attn.weight", (3 * HIDDEN, HIDDEN)),
            ("attn.c_attn.bias", (3 * HIDDEN,)),
            ("attn.c_proj.weight", (HIDDEN, HIDDEN)),
            ("ln_2.weight", (HIDDEN,)),
            ("mlp.w1.weight", (INNER, HIDDEN)),
            ("mlp.w2.weight", (INNER, HIDDEN)),
            ("mlp.c_proj.weight", (HIDDEN, INNER)),
        ):
            shapes[f"transformer.h.{layer}.{name}"] = shape
    return shapes | {"transformer.ln_f.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}


def _internlm(values: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"model.tok_embeddings.weight": (VOCABULARY, HIDDEN)}
    for layer in range(LAYERS):
        for name, shape in (
            ("attention_norm.weight", (HIDDEN,)),
            ("attention.wqkv.weight", (80, HIDDEN)),
            ("attention.wqkv.bias", (80,)),
            ("attention.wo.weight", (HIDDEN, HIDDEN)),
            ("attention.wo.bias", (HIDDEN,)),
            ("ffn_norm.weight", (HIDDEN,)),
            ("feed_forward.w1.weight", (INNER, HIDDEN)),
            ("feed_forward.w2.weight", (HIDDEN, INNER)),
            ("feed_forward.w3.weight", (INNER, HIDDEN)),
        ):
            if values["bias"] or not name.endswith("bias"):
                shapes[f"model.layers.{layer}.{name}"] = shape
    return shapes | {"model.norm.weight": (HIDDEN,), "output.weight": (VOCABULARY, HIDDEN)}


def _baichuan(values: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(LAYERS):
        for name, shape in (
            ("input_layernorm.weight", (HIDDEN,)),
            ("self_attn.W_pack.weight", (3 * HIDDEN, HIDDEN)),
            ("self_attn.o_proj.weight", (HIDDEN, HIDDEN)),
            ("post_attention_layernorm.weight", (HIDDEN,)),
            ("mlp.gate_proj.weight", (INNER, HIDDEN)),
            ("mlp.up_proj.weight", (INNER, HIDDEN)),
            ("mlp.down_proj.weight", (HIDDEN, INNER)),
        ):
            shapes[f"model.layers.{layer}.{name}"] = shape
    return shapes | {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}


_SHAPES = {"qwen": _qwen, "internlm": _internlm, "baichuan": _baichuan}


def write_model(name: str, directory: Path) -> DecoderConfig:
    """Write the tiny model of that name, with or without a reference in Transformers."""
    if name in MODELS:
        return saved(reference_model(name), directory)
    write_own_code(name, directory)
    return read_config(directory)
