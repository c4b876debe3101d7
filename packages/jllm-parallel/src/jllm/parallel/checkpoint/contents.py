"""What a checkpoint is made of, as values: tensors by slices, small files, the state of the run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from jllm.models.families import config_text
from jllm.models.weights.slices import Slice
from jllm.models.weights.write import Values

STATE_NAMES = ("exp_avg", "exp_avg_sq", "master")
"""Stems of the files in `trainer/`: Adam's first and second moment, float32 master weights."""

_COPIED = (
    "generation_config.json",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "qwen.tiktoken",
    "chat_template.jinja", "chat_template.json",
    "preprocessor_config.json", "processor_config.json",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Held:
    """What this rank holds of one set of tensors: `slices` of its `tensors`, stored as `dtype`."""

    slices: tuple[Slice, ...]
    tensors: Mapping[str, Values]
    dtype: torch.dtype


@dataclass(frozen=True, kw_only=True)
class AdapterHeld:
    """An adapter (LoRA) that goes along, and this rank's share of it."""

    directory: str
    """Folder of the checkpoint; "" where it is saved without the model."""
    shapes: Mapping[str, tuple[int, ...]]
    """Shape of every tensor of the whole adapter."""
    held: Held
    frozen: bool
    """Nothing but the adapter has optimizer states."""


@dataclass(frozen=True, kw_only=True)
class CheckpointContents:
    """Everything that one rank has to save. Nothing in it may change until the save returns."""

    step: int
    """Optimizer steps done."""
    shapes: Mapping[str, tuple[int, ...]]
    """Shape of every tensor of the whole model, the same on every rank."""
    weights: Held | None
    """This rank's share of the model. The shares of all ranks hold each element exactly once. None
    saves an adapter alone."""
    adapter: AdapterHeld | None = None
    """The adapter; None where there is none."""
    optimizer: Mapping[str, Held] = field(default_factory=dict)
    """This rank's share of the states, by STATE_NAMES; "master" only if weights are not float32."""
    buffers: frozenset[str] = frozenset()
    """Tensors of the model that gradients do not train: float32 files, no optimizer state."""
    untrained: frozenset[str] = frozenset()
    """Other tensors of the model without an optimizer state."""
    state: Mapping[str, Any] | None = None
    """For state.json (`state.REQUIRED`); None, with no `optimizer`, saves the model alone."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """config.json and the tokenizer's files (`model_files`), wanted from rank 0 only."""

    @property
    def trained(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all tensors with optimizer states."""
        frozen = self.adapter is not None and self.adapter.frozen
        still = self.shapes.keys() if frozen else self.buffers | self.untrained
        model = {name: shape for name, shape in self.shapes.items() if name not in still}
        return model | dict(self.adapter.shapes if self.adapter else {})


def model_files(source: Path, dtype: torch.dtype) -> dict[str, bytes]:
    """Return what a model directory needs beside weights: config, tokenizer, generation config.

    `config.json` is that of `source` with its dtype set to what is saved; the rest is copied as it
    is. Raises ValueError where config.json is missing or no JSON object.
    """
    config = config_text(source, str(dtype).removeprefix("torch."))
    copied = {name: source / name for name in _COPIED if (source / name).is_file()}
    return {"config.json": config.encode(), **{n: path.read_bytes() for n, path in copied.items()}}
