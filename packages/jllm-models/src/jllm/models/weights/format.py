"""The safetensors file format: 8 bytes of header length, a JSON header, the bytes of the tensors.

Files are byte for byte the same as those that the safetensors library writes for the same tensors.
Headers are checked on reading as strictly as by that library: a file that is truncated or has a
damaged header is refused by name. The format is described at
https://github.com/huggingface/safetensors#format. Costs one read of the header, a few KiB to MiB.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import torch

# In the reverse of the order in which the safetensors library lays out dtypes.
_DTYPES: dict[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "C64": torch.complex64,
    "F64": torch.float64,
    "I64": torch.int64,
    "U64": torch.uint64,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_RANK = {dtype: rank for rank, dtype in enumerate(_DTYPES.values())}
_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000  # the library's limit
_METADATA = "__metadata__"
MEND = "fetch or write the file again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """The place of one tensor in a safetensors file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int
    """Offset of the first byte from the start of the file."""

    @property
    def size(self) -> int:
        """Number of bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def dtype_name(dtype: torch.dtype) -> str:
    """Return the format's name of a torch dtype."""
    if dtype not in _NAMES:
        raise ValueError(f"safetensors has no name for {dtype}; use one of {', '.join(_DTYPES)}")
    return _NAMES[dtype]


def build_header(
    tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]],
) -> tuple[bytes, dict[str, Entry]]:
    """Return the header of a file with these tensors, and the place of each tensor.

    The size of the file is `len(header)` plus the sizes of all entries. The order is the library's:
    dtypes of the strictest alignment first, then by name, whatever the order of the mapping.
    """
    order = sorted(tensors, key=lambda name: (-_RANK[tensors[name][0]], name))
    header: dict[str, object] = {_METADATA: {"format": "pt"}}
    position = 0
    for name in order:
        dtype, shape = tensors[name]
        end = position + math.prod(shape) * dtype.itemsize
        header[name] = {
            "dtype": dtype_name(dtype),
            "shape": list(shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER_BYTES:
        raise ValueError(f"a header of {len(text)} bytes is over {_MAX_HEADER_BYTES}: use shards")
    head = len(text).to_bytes(_LENGTH_BYTES, "little") + text
    entries = {}
    position = len(head)
    for name in order:
        dtype, shape = tensors[name]
        entries[name] = Entry(dtype=dtype, shape=tuple(shape), offset=position)
        position += entries[name].size
    return head, entries


def read_header(path: Path) -> dict[str, Entry]:
    """Read the header of a safetensors file, and check it against the file's size.

    Raises ValueError that names the file and the defect where the file is truncated, has extra
    bytes or a damaged header; OSError where it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        prefix = file.read(_LENGTH_BYTES)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < _LENGTH_BYTES:
            raise ValueError(f"{path}: {size} bytes are too few for safetensors; {MEND}")
        if length > _MAX_HEADER_BYTES:
            raise ValueError(f"{path}: not safetensors, or damaged (header of {length} B); {MEND}")
        if _LENGTH_BYTES + length > size:
            raise ValueError(f"{path}: cut short within its header, at {size} bytes; {MEND}")
        text = file.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: the header is not JSON ({error}); {MEND}") from None
    if not isinstance(header, dict):
        raise ValueError(f"{path}: the header is no JSON object; {MEND}")
    header.pop(_METADATA, None)
    start = _LENGTH_BYTES + length
    entries = {name: _entry(path, name, value, start) for name, value in header.items()}
    _check_layout(path, entries, start, size)
    return entries


def _is_sizes(value: object) -> TypeGuard[list[int]]:
    """Return whether a JSON value is a list of non-negative integers."""
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _entry(path: Path, name: str, value: object, start: int) -> Entry:
    """Check one tensor's description and return it."""
    fields = value if isinstance(value, dict) else {}
    dtype, shape = fields.get("dtype"), fields.get("shape")
    offsets = fields.get("data_offsets")
    if not (isinstance(dtype, str) and _is_sizes(shape) and _is_sizes(offsets)):
        raise ValueError(
            f"{path}: {name} is not described by dtype, shape and data_offsets: {value}; {MEND}"
        )
    if len(offsets) != 2:
        raise ValueError(f"{path}: {name} has data_offsets {offsets}, not two; {MEND}")
    low, high = offsets
    if dtype not in _DTYPES:
        raise ValueError(f"{path}: {name} has dtype {dtype}; known are {', '.join(_DTYPES)}")
    entry = Entry(dtype=_DTYPES[dtype], shape=tuple(shape), offset=start + low)
    if high - low != entry.size:
        raise ValueError(
            f"{path}: {name} ({dtype} {shape}) needs {entry.size} bytes, the header gives it"
            f" {high - low}; {MEND}"
        )
    return entry


def _check_layout(path: Path, entries: Mapping[str, Entry], start: int, size: int) -> None:
    """Check that the tensors are contiguous and end at the end of the file."""
    position = start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].offset, item[1].size)):
        if entry.offset != position:
            raise ValueError(
                f"{path}: {name} begins at byte {entry.offset}, not at {position}; {MEND}"
            )
        position += entry.size
    if size < position:
        raise ValueError(f"{path}: cut short, {size} of {position} bytes are there; {MEND}")
    if size > position:
        raise ValueError(f"{path}: {size - position} bytes too many behind the tensors; {MEND}")
