"""Model families: one short file each turns a Hugging Face `config.json` into a DecoderConfig.

The file is only read as JSON: code in a model directory (`auto_map`) is never imported, with or
without Transformers.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from jllm.models.config.decoder_config import DecoderConfig, PredictionConfig
from jllm.models.families import (
    baichuan,
    deepseek_v2,
    deepseek_v3,
    internlm2,
    llama,
    mistral,
    olmo2,
    qwen,
    qwen2,
    qwen2_moe,
    qwen3,
    qwen3_moe,
)
from jllm.models.families.fields import Fields
from jllm.models.weights.blocks import weight_blocks
from jllm.models.weights.names import layers_behind, tensor_names

FAMILIES: dict[str, Callable[[Fields], DecoderConfig]] = {
    "BaiChuanForCausalLM": baichuan.decoder_config,
    "BaichuanForCausalLM": baichuan.decoder_config,
    "DeepseekV2ForCausalLM": deepseek_v2.decoder_config,
    "DeepseekV3ForCausalLM": deepseek_v3.decoder_config,
    "InternLM2ForCausalLM": internlm2.decoder_config,
    "LlamaForCausalLM": llama.decoder_config,
    "MistralForCausalLM": mistral.decoder_config,
    "Olmo2ForCausalLM": olmo2.decoder_config,
    "QWenLMHeadModel": qwen.decoder_config,
    "Qwen2ForCausalLM": qwen2.decoder_config,
    "Qwen2MoeForCausalLM": qwen2_moe.decoder_config,
    "Qwen3ForCausalLM": qwen3.decoder_config,
    "Qwen3MoeForCausalLM": qwen3_moe.decoder_config,
}
"""Hugging Face class name → function that reads its configuration."""

MODEL_TYPES = {
    "baichuan": "BaichuanForCausalLM",
    "deepseek_v2": "DeepseekV2ForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
    "internlm2": "InternLM2ForCausalLM",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
    "qwen": "QWenLMHeadModel",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2_moe": "Qwen2MoeForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
}
"""Model type → architecture of a configuration without `architectures`."""


def read_config(model_dir: Path) -> DecoderConfig:
    """Read `config.json` of a model directory.

    Raises ValueError where it is not a JSON object, has an unknown architecture or rope type, head
    counts that do not fit, quantised weights other than those of `jllm.models.weights.blocks`, or
    an unsupported option that would change the mathematics.
    """
    path = Path(model_dir) / "config.json"
    if not path.exists() and path.with_name("adapter_config.json").exists():
        raise ValueError(
            f"{model_dir}: holds an adapter alone; name its model, and train on from the adapter "
            "with --lora_adapter, or merge them first (python -m jllm.merge_lora)"
        )
    config = decoder_config(read_json(path), str(path))
    return with_prediction(config, held_prediction(config, Path(model_dir)))


def held_prediction(config: DecoderConfig, model_dir: Path) -> int:
    """Return how many modules of multi-token prediction the directory's files hold.

    Without weights it is the number in the configuration. (Transformers writes a configuration with
    a module, but no module.) Refuses files with more layers than the configuration.
    """
    said = config.prediction.depth if config.prediction else 0
    names = tensor_names(model_dir)
    if names is None:
        return said
    found = layers_behind(names, config.names.layers, config.num_layers)
    if found > said:
        raise ValueError(
            f"{model_dir}: the files hold {config.num_layers + found} layers, config.json names "
            f"{config.num_layers} (num_hidden_layers) and {said} behind them "
            "(num_nextn_predict_layers); take the files and the config.json of the same model"
        )
    return found


def with_prediction(config: DecoderConfig, depth: int, loss_weight: float = 0.0) -> DecoderConfig:
    """Return the configuration with `depth` modules of multi-token prediction."""
    made = PredictionConfig(depth=depth, loss_weight=loss_weight) if depth else None
    return replace(config, prediction=made)


def decoder_config(values: dict[str, Any], source: str) -> DecoderConfig:
    """Turn the parsed `config.json` into a DecoderConfig; `source` names it in errors."""
    fields = Fields(values, source)
    architecture = _architecture(fields)
    if architecture not in FAMILIES:
        own_code = (
            "; the directory's own code (auto_map) is never run" if "auto_map" in values else ""
        )
        raise fields.error(
            f"unknown architecture {architecture!r}; known: {', '.join(FAMILIES)}{own_code}"
        )
    if quantization := values.get("quantization_config"):
        weight_blocks(quantization, source)
    return FAMILIES[architecture](fields)


def _architecture(fields: Fields) -> str:
    """Return the class name of the configuration's architecture."""
    named = fields.values.get("architectures")
    if isinstance(named, list) and named:
        return str(named[0])
    model_type = str(fields.values.get("model_type"))
    return MODEL_TYPES.get(model_type, f"model_type {model_type}")


def config_text(model_dir: Path, dtype: str) -> str:
    """Return `config.json` for weights saved as `dtype` (a name of torch), otherwise unchanged.

    Weights of 8 bits are not written, so `quantization_config` is omitted.
    """
    values = read_json(Path(model_dir) / "config.json")
    for key in ("torch_dtype", "quantization_config"):
        values.pop(key, None)
    return json.dumps({**values, "dtype": dtype}, indent=2, ensure_ascii=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; a model directory holds config.json") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as problem:
        raise ValueError(f"{path}: not JSON: {problem}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return values
