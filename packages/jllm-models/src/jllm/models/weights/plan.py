"""Planning the safetensors files of a set of tensors: names, headers, the offset of every tensor.

A plan is a pure function of the names, dtypes and shapes of the tensors. It does not depend on
ranks, so every layout writes the same bytes to the same places, and no files have to be merged.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from jllm.models.weights.format import Entry, build_header

MAX_SHARD_BYTES = 5 * 2**30
"""Most tensor bytes in a file, unless a single tensor is larger; Hugging Face's default."""

TensorSpec = tuple[torch.dtype, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedFile:
    """One safetensors file to be written."""

    name: str
    header: bytes
    size: int
    """Size of the file in bytes, header included."""
    entries: Mapping[str, Entry]


@dataclass(frozen=True, kw_only=True, slots=True)
class FilePlan:
    """The files that hold a set of tensors, and the index beside them if there are several."""

    files: tuple[PlannedFile, ...]
    index_name: str
    index: bytes | None
    """Contents of the file `index_name`; None where there is only one file of tensors."""

    def locate(self) -> dict[str, tuple[str, Entry]]:
        """Return, for every tensor, the name of its file and its place there."""
        return {
            name: (file.name, entry) for file in self.files for name, entry in file.entries.items()
        }


def plan_files(
    tensors: Mapping[str, TensorSpec],
    max_shard_bytes: int = MAX_SHARD_BYTES,
    stem: str = "model",
) -> FilePlan:
    """Plan `<stem>.safetensors`, or `<stem>-00001-of-0000N.safetensors` … and their index.

    Tensors are in the natural order of their names (layer 2 before layer 10), whatever the order of
    the mapping. A new file starts at the tensor that would exceed the limit.
    """
    groups: list[dict[str, TensorSpec]] = [{}]
    filled = 0
    for name in sorted(tensors, key=_natural):
        dtype, shape = tensors[name]
        size = Entry(dtype=dtype, shape=shape, offset=0).size
        if groups[-1] and filled + size > max_shard_bytes:
            groups.append({})
            filled = 0
        groups[-1][name] = (dtype, shape)
        filled += size
    count = len(groups)
    files = []
    for number, group in enumerate(groups, start=1):
        header, entries = build_header(group)
        files.append(
            PlannedFile(
                name=f"{stem}{f'-{number:05d}-of-{count:05d}' * (count > 1)}.safetensors",
                header=header,
                size=len(header) + sum(entry.size for entry in entries.values()),
                entries=entries,
            )
        )
    index = _index(files) if count > 1 else None
    return FilePlan(files=tuple(files), index_name=index_name(stem), index=index)


def index_name(stem: str) -> str:
    """Return the name of the index file that belongs to `<stem>-*.safetensors`."""
    return f"{stem}.safetensors.index.json"


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that orders the numbers in a name by value."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts)


def _index(files: list[PlannedFile]) -> bytes:
    """Return the contents of the index file, as written by Transformers."""
    weight_map = {name: file.name for file in files for name in file.entries}
    total = sum(entry.size for file in files for entry in file.entries.values())
    value = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    return json.dumps(value, indent=2).encode() + b"\n"
