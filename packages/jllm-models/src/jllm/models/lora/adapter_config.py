"""`adapter_config.json`, which `peft` and vLLM read beside `adapter_model.safetensors`.

Each expert has its own A and B under its own names, as vLLM expects. Transformers keeps all experts
of a layer in two parameters, so for `peft` they are listed in `target_parameters`, gate and up
together with twice the rank; `peft` stacks the tensors when it reads the files. In a model with
experts the other matrices of MLPs are listed there too, because `peft` takes `gate_proj` and the
like in `target_modules` for names of experts.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.units import unit_kind
from jllm.models.families import read_json
from jllm.models.families.fields import Fields
from jllm.models.lora.settings import Lora, scale_of
from jllm.models.lora.targets import adaptable

CONFIG = "adapter_config.json"
STEM = "adapter_model"
PLAIN_INITS = (True, False, "gaussian", "orthogonal", None)
"""Values of init_lora_weights that do not change the base model."""
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "bias": ("none", None),
    "fan_in_fan_out": (False, None),
    "init_lora_weights": PLAIN_INITS,
    "layer_replication": ([], None),
    "lora_bias": (False, None),
    "modules_to_save": ([], None),
    "trainable_token_indices": ([], {}, None),
    "use_dora": (False, None),
    "use_qalora": (False, None),
    "alora_invocation_tokens": ([], None),
}
"""Options of `peft` → their values where an adapter is the plain product B · A."""


def config_text(config: DecoderConfig, lora: Lora, base: str) -> str:
    """Return the contents of the file; base: path or name of the base model."""
    modules, parameters = _targets(config, lora)
    fused = f"{config.names.experts}.gate_up_proj"
    pattern = re.escape(fused)
    factor = math.sqrt(2) if lora.rslora else 2
    doubled = fused in parameters
    values = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "use_rslora": lora.rslora,
        "target_modules": modules,
        "target_parameters": parameters or None,
        "rank_pattern": {pattern: 2 * lora.rank} if doubled else {},
        "alpha_pattern": {pattern: factor * lora.alpha} if doubled else {},
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": None,
        "use_dora": False,
        "inference_mode": True,
    }
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _targets(config: DecoderConfig, lora: Lora) -> tuple[list[str], list[str]]:
    """Return target_modules and target_parameters."""
    experts = f".{config.names.experts}."
    parameters, plain, every = set(), set(), set()
    for tensor, holder in adaptable(config).items():
        module = tensor.removesuffix(".weight")
        chosen = tensor in lora.tensors
        if experts in tensor:
            part = "down" if holder.endswith(".down") else "gate_up"
            if chosen:
                parameters.add(f"{config.names.experts}.{part}_proj")
            continue
        in_mlp = config.experts and unit_kind(config, int(holder.split(".")[1])) == "mlp"
        name = tensor if in_mlp else module
        every.add(name)
        if chosen:
            plain.add(name)
    names = _shortest(plain, every)
    weights = {name for name in names if name.endswith(".weight")}
    return sorted(names - weights), sorted(parameters | weights)


def _shortest(chosen: Iterable[str], every: Iterable[str]) -> set[str]:
    """Return the shortest suffixes of names that match the chosen names and no others."""
    wanted = Counter(part for name in chosen for part in _suffixes(name))
    there = Counter(part for name in every for part in _suffixes(name))
    return {next(p for p in _suffixes(name) if wanted[p] == there[p]) for name in chosen}


def _suffixes(name: str) -> Iterator[str]:
    """Yield the suffixes of a dotted name, the shortest first; `x.weight` counts as one part."""
    kind = ".weight" if name.endswith(".weight") else ""
    parts = name.removesuffix(kind).split(".")
    for count in range(1, len(parts) + 1):
        yield ".".join(parts[-count:]) + kind


@dataclass(frozen=True, kw_only=True)
class AdapterSpec:
    """The part of an adapter's configuration that concerns its tensors."""

    rank: int
    alpha: float
    rslora: bool
    alpha_pattern: dict[str, float]
    base: str
    """Path or name of the base model; "" where it is not named."""

    def scale(self, module: str, rank: int) -> float:
        """Return the factor of B · A, of rank `rank`, in a module."""
        alpha = next(
            (
                value
                for pattern, value in self.alpha_pattern.items()
                if re.match(rf"(.*\.)?({pattern})$", module)
            ),
            self.alpha,
        )
        return scale_of(alpha, rank, rslora=self.rslora)


def read_adapter_config(directory: Path) -> AdapterSpec:
    """Read `adapter_config.json`. Raises ValueError where it is not plain LoRA."""
    path = directory / CONFIG
    if not path.is_file():
        raise ValueError(f"{directory}: holds no {CONFIG}; an adapter is a directory that does")
    values = read_json(path)
    fields = Fields(values, str(path))
    fields.require("peft_type", "LORA", None)
    for key, plain in UNSUPPORTED.items():
        if values.get(key) not in plain:
            raise fields.error(
                f"{key} = {values[key]!r}: only plain LoRA is supported, B · A alone"
            )
    patterns = values.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise fields.error(f"alpha_pattern must be an object, found {patterns!r}")
    return AdapterSpec(
        rank=fields.size("r"),
        alpha=fields.number("lora_alpha", 8),
        rslora=fields.flag("use_rslora"),
        alpha_pattern={key: fields.checked_number(key, value) for key, value in patterns.items()},
        base=str(values.get("base_model_name_or_path") or ""),
    )
