"""The weight table of an adapter: the places of each Hugging Face tensor's A and B in a stage.

A fused parameter of n adapted tensors has one `lora_A` [n·r, in], tensor by tensor, and one
`lora_B` whose rows are the adapted rows of the parameter, in the same order. The rows of B thus
have the order of the parameter's rows (experts in order, heads by group).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.units import unit_count
from jllm.models.lora.settings import Lora, adapter_names
from jllm.models.weights.slices import Slice, whole
from jllm.models.weights.table import weight_table


@dataclass(frozen=True, kw_only=True)
class AdaptedRows:
    """The rows [start, stop) of a parameter that hold one adapted tensor."""

    tensor: str
    start: int
    stop: int
    offset: int
    """Their first row in `lora_B`."""
    slices: tuple[Slice, ...]
    """The slices of the tensor."""


@dataclass(frozen=True, kw_only=True)
class AdaptedMatrix:
    """A parameter of a stage with an adapter."""

    module: str
    """Name of the module that has it as `weight`."""
    inputs: int
    parts: tuple[AdaptedRows, ...]

    @property
    def rows(self) -> int:
        """Number of rows of `lora_B`."""
        return sum(part.stop - part.start for part in self.parts)


def adapted_matrices(config: DecoderConfig, units: range, lora: Lora) -> tuple[AdaptedMatrix, ...]:
    """Return the parameters of some units that have an adapter, in the order of the units."""
    table = weight_table(config, units)
    adapted = (piece for piece in table if piece.tensor in lora.tensors)
    found = []
    for parameter, group in groupby(adapted, lambda piece: piece.parameter):
        pieces = tuple(group)
        module = parameter.removesuffix(".weight")
        found.append(
            AdaptedMatrix(module=module, inputs=pieces[0].shape[1], parts=tuple(_parts(pieces)))
        )
    return tuple(found)


def _parts(pieces: tuple[Slice, ...]) -> Iterator[AdaptedRows]:
    """Yield the rows of each tensor of a parameter."""
    by_tensor: dict[str, list[Slice]] = {}
    for piece in pieces:
        by_tensor.setdefault(piece.tensor, []).append(piece)
    offset = 0
    for tensor, mine in by_tensor.items():
        start = min(piece.here[0][0] for piece in mine)
        stop = max(piece.here[0][1] for piece in mine)
        assert stop - start == mine[0].shape[0] == sum(piece.extents[0] for piece in mine), tensor
        yield AdaptedRows(tensor=tensor, start=start, stop=stop, offset=offset, slices=tuple(mine))
        offset += stop - start


def adapter_table(config: DecoderConfig, units: range, lora: Lora) -> tuple[Slice, ...]:
    """Return the slices of the adapter's parameters of some units, under `peft`'s names."""
    return tuple(
        piece
        for matrix in adapted_matrices(config, units, lora)
        for piece in _matrix_slices(matrix, lora.rank)
    )


def _matrix_slices(matrix: AdaptedMatrix, rank: int) -> Iterator[Slice]:
    """Yield the slices of `lora_A` and of `lora_B` of one parameter."""
    for number, part in enumerate(matrix.parts):
        name, _ = adapter_names(part.tensor)
        first = whole(f"{matrix.module}.lora_A", name, (rank, matrix.inputs))
        yield replace(first, here=((number * rank, (number + 1) * rank), (0, matrix.inputs)))
    for part in matrix.parts:
        _, name = adapter_names(part.tensor)
        for piece in part.slices:
            start = piece.here[0][0] - part.start + part.offset
            yield Slice(
                parameter=f"{matrix.module}.lora_B",
                tensor=name,
                shape=(piece.shape[0], rank),
                there=(piece.there[0], (0, rank)),
                here=((start, start + piece.extents[0]), (0, rank)),
            )


def trained_parameters(config: DecoderConfig, lora: Lora) -> int:
    """Return the number of parameters of the adapter."""
    table = adapter_table(config, range(unit_count(config)), lora)
    return sum(math.prod(piece.extents) for piece in table)
