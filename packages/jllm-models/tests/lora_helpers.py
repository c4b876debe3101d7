"""Adapters with random numbers, in our stages and on disk."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.decoder.stage import Stage
from jllm.models.families import read_config
from jllm.models.lora.adapter_config import CONFIG, STEM, config_text
from jllm.models.lora.initialize import fill_adapter_
from jllm.models.lora.layers import attach_
from jllm.models.lora.settings import Lora
from jllm.models.lora.table import adapter_table
from jllm.models.lora.targets import resolve
from tiny_model_helpers import loaded_stage


def random_adapter(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return numbers that are a function of the name; B is not zero."""
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    return torch.empty(shape).normal_(0, 0.1, generator=generator)


def lora_of(config: DecoderConfig, targets: Sequence[str], **options: object) -> Lora:
    """Return settings of rank 4."""
    values = {"rank": 4, "alpha": 8.0} | options
    return Lora(tensors=resolve(config, targets), **values)  # type: ignore[arg-type]


def adapted_stage(directory: Path, targets: Sequence[str], **options: object) -> tuple[Stage, Lora]:
    """Load a whole model with a random adapter; all else is frozen."""
    stage = loaded_stage(directory)
    lora = lora_of(read_config(directory), targets, **options)
    attach_(stage, lora, freeze=True)
    fill_adapter_(stage, lora, random_adapter)
    return stage, lora


def adapter_tensors(stage: Stage, lora: Lora, *, gradients: bool = False) -> dict[str, Tensor]:
    """Return a stage's adapter, or its gradients, by the names in `peft`'s files."""
    parameters = dict(stage.named_parameters())
    found: dict[str, Tensor] = {}
    for piece in adapter_table(stage.config, stage.unit_range, lora):
        held = parameters[piece.parameter]
        values = held.grad if gradients else held.detach()
        assert values is not None, piece
        whole = found.setdefault(piece.tensor, torch.full(piece.shape, float("nan")))
        whole[piece.there_index] = values[piece.here_index]
    return found


def write_adapter(stage: Stage, lora: Lora, base: Path, directory: Path) -> Path:
    """Write a stage's adapter as `peft` has it on disk."""
    directory.mkdir(parents=True)
    save_file(adapter_tensors(stage, lora), directory / f"{STEM}.safetensors")
    (directory / CONFIG).write_text(config_text(stage.config, lora, str(base)))
    return directory
