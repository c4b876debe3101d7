"""A run's tensors as a checkpoint describes them, and back.

Each replica saves and loads its own rows of every parameter, of weights and moments alike, so all
processes share the work and no tensor is ever whole anywhere.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.units import unit_count
from jllm.models.decoder.stage import Stage
from jllm.models.lora.table import adapter_table
from jllm.models.weights.slices import Slice, rows, shapes
from jllm.models.weights.table import copied_slices, is_buffer, untrained_tensors, weight_table
from jllm.models.weights.write import Values
from jllm.parallel.checkpoint.contents import (
    AdapterHeld,
    CheckpointContents,
    Held,
)
from jllm.parallel.lora.saved_adapter import SavedAdapter, merged_rows
from jllm.parallel.optimizer.gradient_shards import ShardRows
from jllm.parallel.optimizer.sharded_adamw import ShardedAdamW


def checkpoint_contents(
    stage: Stage,
    optimizer: ShardedAdamW | None,
    config: DecoderConfig,
    *,
    step: int,
    state: Mapping[str, Any] | None,
    files: Mapping[str, bytes],
    share: Mapping[str, ShardRows],
    adapter: SavedAdapter | None = None,
) -> CheckpointContents:
    """Describe what this process has to save.

    Args:
        stage: its weights.
        optimizer: its moments; None saves the model alone.
        config: of the whole model.
        step: optimizer steps done.
        state: where the run stands; None saves the model alone.
        files: config.json and the tokenizer's files, which go along.
        share: the rows of each parameter that this replica saves.
        adapter: the adapter, which is merged into the weights, or saved without them.
    """
    table = weight_table(config, stage.unit_range, for_saving=True)
    copies = copied_slices(config, stage.unit_range)
    dtype = next(stage.parameters()).dtype
    tensors = stage.tensors()
    held = {n: tensors[n][r.start : r.stop] for n, r in share.items()}
    trained = {n: r for n, r in share.items() if optimizer and n in optimizer.masters}
    states: dict[str, Mapping[str, Tensor]] = {}
    if optimizer is not None:
        states |= {n: _valid(tensors, trained) for n, tensors in optimizer.states().items()}
        if dtype != torch.float32 or (adapter and not adapter.frozen):
            states["master"] = _valid(optimizer.masters, trained)
    adapters = adapter_table(config, stage.unit_range, adapter.lora) if adapter else ()
    slices = tuple(_own_rows((*table, *adapters), trained))
    everything = range(unit_count(config))
    whole = weight_table(config, everything, for_saving=True)
    values: Mapping[str, Values] = held | merged_rows(stage, share)
    pieces = tuple(_own_rows((*table, *copies), share))
    weights = Held(slices=pieces, tensors=values, dtype=dtype)
    return CheckpointContents(
        step=step,
        shapes=shapes((*whole, *copied_slices(config, everything))),
        weights=None if adapter and adapter.alone else weights,
        adapter=AdapterHeld(
            directory=adapter.directory,
            shapes=shapes(adapter_table(config, everything, adapter.lora)),
            held=Held(slices=tuple(_own_rows(adapters, share)), tensors=held, dtype=dtype),
            frozen=adapter.frozen,
        )
        if adapter
        else None,
        optimizer={
            name: Held(slices=slices, tensors=tensors, dtype=torch.float32)
            for name, tensors in states.items()
        },
        buffers=frozenset(piece.tensor for piece in whole if is_buffer(piece)),
        untrained=untrained_tensors(config),
        state=state,
        files=files,
    )


def _own_rows(table: tuple[Slice, ...], share: Mapping[str, ShardRows]) -> Iterator[Slice]:
    for name, part in share.items():
        yield from rows(table, name, part.start, part.stop)


def _valid(tensors: Mapping[str, Tensor], share: Mapping[str, ShardRows]) -> dict[str, Tensor]:
    """Pick the parameters of `share`, without the padding rows of their shards."""
    return {n: tensors[n].detach()[: part.stop - part.start] for n, part in share.items()}
