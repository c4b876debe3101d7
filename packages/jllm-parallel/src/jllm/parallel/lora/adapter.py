"""The adapter (LoRA) of a run: its settings from the flags, its initial values, its saved state."""

import hashlib
import math
from pathlib import Path
from typing import Any

from torch import Tensor

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.units import unit_count
from jllm.models.decoder.stage import Stage
from jllm.models.lora.adapter_config import CONFIG, STEM
from jllm.models.lora.adapter_files import Adapter, open_adapter
from jllm.models.lora.initialize import fill_adapter_, initialize_adapter_
from jllm.models.lora.settings import PREFIX, Lora
from jllm.models.lora.table import adapter_table
from jllm.models.lora.targets import check_tensors, resolve
from jllm.models.weights.read import load_slices
from jllm.models.weights.slices import shapes
from jllm.models.weights.table import weight_table
from jllm.parallel.config.config import TrainConfig

BESIDE = "adapter"
"""Folder of the adapter in a checkpoint that also holds the merged model. In one folder with the
model, Transformers would load its files as an adapter of that model."""


def lora_of(config: TrainConfig, model: DecoderConfig) -> Lora | None:
    """Return the adapter that a run trains or, without training, uses.

    Raises ValueError where a module name matches nothing, or where --lora_adapter does not fit the
    model or the flags.
    """
    if config.lora_adapter:
        return _lora_of_adapter(config, model)
    if not config.lora_dim:
        return None
    tensors = _named(config, model)
    _check_rank(config.lora_dim, tensors, model)
    return Lora(
        rank=config.lora_dim, alpha=config.lora_alpha, rslora=config.lora_rslora, tensors=tensors
    )


def _check_rank(rank: int, tensors: frozenset[str], model: DecoderConfig) -> None:
    """Refuse a rank larger than an adapted matrix can have."""
    known = shapes(weight_table(model, range(unit_count(model))))
    smallest = min(sorted(tensors), key=lambda name: min(known[name]))
    if rank > min(known[smallest]):
        raise ValueError(
            f"--lora_dim {rank}: {smallest} is a matrix of {list(known[smallest])}, whose rank is "
            f"{min(known[smallest])} at most; take less, or leave it out of --lora_module_name"
        )


def _named(config: TrainConfig, model: DecoderConfig) -> frozenset[str]:
    """Return the tensors of --lora_module_name."""
    names = [name.strip() for name in config.lora_module_name.split(",") if name.strip()]
    try:
        return resolve(model, names)
    except ValueError as error:
        raise ValueError(f"--lora_module_name: {error}") from None


def open_start(config: TrainConfig, model: DecoderConfig) -> Adapter:
    """Open --lora_adapter."""
    table = weight_table(model, range(unit_count(model)))
    return open_adapter(Path(config.lora_adapter), shapes(table))


def _lora_of_adapter(config: TrainConfig, model: DecoderConfig) -> Lora:
    adapter = open_start(config, model)
    ranks = {pair.rank for pair in adapter.pairs.values()}
    scales = {pair.scale for pair in adapter.pairs.values()}
    spec, where = adapter.spec, f"--lora_adapter {config.lora_adapter}"
    if len(ranks) > 1 or len(scales) > 1:
        raise ValueError(
            f"{where}: ranks {sorted(ranks)}, scales {sorted(scales)}: one of each can be trained; "
            "merge it (python -m jllm.merge_lora) and start from the result"
        )
    try:
        check_tensors(model, adapter.pairs)
    except ValueError as error:
        raise ValueError(
            f"{where}: {error}; to start from it, merge it (python -m jllm.merge_lora)"
        ) from None
    (rank,), (scale,) = ranks, scales
    if config.lora_dim not in (0, rank):
        raise ValueError(f"{where} has rank {rank}: drop --lora_dim {config.lora_dim}")
    alpha = scale * (rank**0.5 if spec.rslora else rank)
    tensors = frozenset(adapter.pairs)
    if config.lora_alpha != TrainConfig.lora_alpha and not math.isclose(config.lora_alpha, alpha):
        raise ValueError(f"{where} has alpha {alpha:g}: drop --lora_alpha {config.lora_alpha:g}")
    if config.lora_rslora and not spec.rslora:
        raise ValueError(f"{where} has the scale alpha / rank: drop --lora_rslora")
    named = config.lora_module_name
    if named != TrainConfig.lora_module_name and tensors != _named(config, model):
        raise ValueError(f"{where} has modules of its own: drop --lora_module_name {named}")
    return Lora(rank=rank, alpha=alpha, rslora=spec.rslora, tensors=tensors)


def lora_state(lora: Lora, *, frozen: bool) -> dict[str, Any]:
    """Return the settings of an adapter that a resumed run must have too."""
    listed = "\n".join(sorted(lora.tensors)).encode()
    return {
        "rank": lora.rank,
        "alpha": lora.alpha,
        "rslora": lora.rslora,
        "only_optimize_lora": frozen,
        "matrices": len(lora.tensors),
        "matrices_digest": hashlib.blake2b(listed, digest_size=16).hexdigest(),
    }


def adapter_folder(checkpoint: Path) -> Path:
    """Return the folder of a checkpoint's adapter."""
    return checkpoint if (checkpoint / CONFIG).exists() else checkpoint / BESIDE


def fill_adapter(
    stage: Stage, lora: Lora, config: TrainConfig, model: DecoderConfig, resumed: Path | None
) -> None:
    """Fill a stage's adapter with the values of a checkpoint, of --lora_adapter, or fresh ones."""
    if resumed:
        table = adapter_table(model, stage.unit_range, lora)
        load_slices(adapter_folder(resumed), table, stage.tensors(), stem=STEM)
    elif config.lora_adapter:
        pairs = open_start(config, model).pairs

        def values_of(name: str, shape: tuple[int, ...]) -> Tensor:
            module, _, kind = name.removeprefix(PREFIX).rpartition(".lora_")
            a, b = pairs[f"{module}.weight"].read()
            return a if kind.startswith("A") else b

        fill_adapter_(stage, lora, values_of)
    else:
        initialize_adapter_(stage, lora, config.seed)
