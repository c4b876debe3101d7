"""The tensors of an adapter written by jllm or by `peft`: A and B of each weight of the model.

`peft` stacks the adapters of experts: A of all experts one below the other, [E·r, in], and B with
the experts' columns interleaved, [out, r·E]; gate and up share one A. They are split here, so that
each expert's weight has a pair like any other.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from jllm.models.lora.adapter_config import STEM, AdapterSpec, read_adapter_config
from jllm.models.lora.settings import PREFIX
from jllm.models.weights.format import Entry
from jllm.models.weights.read import open_weights

EXPERT_PARTS = (("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2"))
"""Names of gate, up and down of an expert in the files of models."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The adapter of one weight: weight + scale · B · A."""

    tensor: str
    """Name of the weight."""
    rank: int
    scale: float
    a: tuple[Path, Entry]
    b: tuple[Path, Entry]
    rows: tuple[int, int] | None = None
    """Rows of B for this weight, where B is stacked."""
    expert: int = 0
    """Number of the expert, where A and B are stacked."""
    experts: int = 0
    """Number of experts in A and B; 0 where they are not stacked."""

    def read(self) -> tuple[Tensor, Tensor]:
        """Return A [r, in] and B [out, r] in the dtype of the file."""
        a, b = _read(*self.a), _read(*self.b)
        if not self.experts:
            return a, b
        assert self.rows is not None
        return (
            a.unflatten(0, (self.experts, -1))[self.expert],
            b.unflatten(1, (-1, self.experts))[slice(*self.rows), :, self.expert],
        )


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """An adapter on disk."""

    spec: AdapterSpec
    pairs: Mapping[str, Pair]
    """By name of the weight."""


@lru_cache(maxsize=4)  # the experts of a layer are read one after the other from the same tensors
def _read(path: Path, entry: Entry) -> Tensor:
    """Read a whole tensor."""
    data = bytearray(entry.size)
    with path.open("rb") as file:
        if os.preadv(file.fileno(), [data], entry.offset) != entry.size:
            raise ValueError(f"{path}: ends within a tensor; write it again")
    return torch.frombuffer(data, dtype=entry.dtype).view(entry.shape)


def open_adapter(directory: Path, weights: Mapping[str, tuple[int, ...]]) -> Adapter:
    """Find the pairs of an adapter for a model with these weights (name → shape).

    Reads only headers. Raises ValueError that lists every tensor that has no counterpart, has
    another shape or is unknown: an adapter is used as a whole or not at all.
    """
    spec = read_adapter_config(directory)
    files = open_weights(directory, STEM)
    modules: dict[str, dict[str, tuple[Path, Entry]]] = {}
    problems = []
    for name, place in files.tensors.items():
        module, dot, kind = name.removeprefix(PREFIX).rpartition(".lora_")
        if name.startswith(PREFIX) and dot and kind in ("A.weight", "B.weight"):
            modules.setdefault(module, {})[kind[0]] = place
        else:
            problems.append(f"{name}: neither lora_A nor lora_B of a matrix")
    pairs: dict[str, Pair] = {}
    for module, found in modules.items():
        if len(found) != 2:
            problems.append(f"{module}: lora_{'B' if 'A' in found else 'A'} is missing")
            continue
        mine = _pairs(module, found["A"], found["B"], weights, spec)
        if isinstance(mine, str):
            problems.append(f"{module}: {mine}")
        else:
            pairs |= {pair.tensor: pair for pair in mine}
    if problems or not pairs:
        listed = "\n".join(f"  {problem}" for problem in sorted(problems) or ["no tensor"])
        raise ValueError(
            f"{directory}: does not fit the model; take the model that it was trained on:\n{listed}"
        )
    return Adapter(spec=spec, pairs=pairs)


def _pairs(
    module: str,
    a: tuple[Path, Entry],
    b: tuple[Path, Entry],
    weights: Mapping[str, tuple[int, ...]],
    spec: AdapterSpec,
) -> list[Pair] | str:
    """Return the pairs of one module of `peft`, or an error message."""
    (rank, inputs), (outputs, columns) = _matrix(a[1].shape), _matrix(b[1].shape)
    weight = f"{module}.weight"
    if weight in weights:
        if rank != columns or weights[weight] != (outputs, inputs):
            return f"{_shapes(a, b)} do not fit a weight of shape {list(weights[weight])}"
        scale = spec.scale(module, rank)
        return [Pair(tensor=weight, rank=rank, scale=scale, a=a, b=b)]
    stack = module.removesuffix(".base_layer")
    parts = next((p for p in EXPERT_PARTS if f"{stack}.0.{p[0]}.weight" in weights), None)
    if parts is None:
        return "the model has no weight of this name"
    count = next(n for n in range(len(weights)) if f"{stack}.{n}.{parts[0]}.weight" not in weights)
    inner, hidden = _matrix(weights[f"{stack}.0.{parts[0]}.weight"])
    if (inputs, outputs) == (hidden, 2 * inner):
        name, cut = "gate_up_proj", ((parts[0], (0, inner)), (parts[1], (inner, 2 * inner)))
    elif (inputs, outputs) == (inner, hidden):
        name, cut = "down_proj", ((parts[2], (0, hidden)),)
    else:
        return f"{_shapes(a, b)} fit neither gate and up nor down of the experts"
    if rank != columns or rank % count:
        return f"{_shapes(a, b)} are not those of {count} experts"
    rank //= count
    scale = spec.scale(f"{stack}.{name}", rank)
    return [
        Pair(
            tensor=f"{stack}.{expert}.{part}.weight",
            rank=rank,
            scale=scale,
            a=a,
            b=b,
            rows=rows,
            expert=expert,
            experts=count,
        )
        for expert in range(count)
        for part, rows in cut
    ]


def _matrix(shape: Iterable[int]) -> tuple[int, int]:
    """Return a shape if it has two dimensions, otherwise one that fits nothing."""
    rows, columns, *others = (*shape, 0, 0)
    return (rows, columns) if len(others) == 2 else (-1, -1)


def _shapes(a: tuple[Path, Entry], b: tuple[Path, Entry]) -> str:
    """Format the shapes of A and B for an error message."""
    return f"A {list(a[1].shape)} and B {list(b[1].shape)}"
