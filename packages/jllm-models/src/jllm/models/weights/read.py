"""Reading slices of the tensors of a model directory, and no more bytes than needed.

Bytes are read with `pread` through one buffer, so the extra memory is that buffer (4 MiB) whatever
the size of the model. Nothing is mapped, because mapped pages count as memory once touched.
Weights of 8 bits (`jllm.models.weights.blocks`) are multiplied by their scales on the way: a slice
of them needs its own bytes, the scales of its blocks, and another 8 MiB of memory.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from jllm.models.weights.blocks import (
    SCALES,
    Blocks,
    directory_blocks,
    scales_shape,
    scales_slice,
)
from jllm.models.weights.dequantise import QUANTISED, Scales
from jllm.models.weights.format import MEND, Entry, read_header
from jllm.models.weights.plan import index_name
from jllm.models.weights.slices import Slice, first_element, runs, span, split, strides

BUFFER_BYTES = 4 * 2**20
_MIN_RUN_BYTES = 32 * 1024  # shorter runs are read together with the gaps between them


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightFiles:
    """The tensors of a model directory: the file and the place of each."""

    directory: Path
    tensors: Mapping[str, tuple[Path, Entry]]
    blocks: Blocks | None = None
    """Rows and columns of a block with one scale, where there are weights of 8 bits."""


def open_weights(directory: Path, stem: str = "model") -> WeightFiles:
    """Read the headers of `<stem>.safetensors`, or of all files in its index; no tensor data.

    Raises ValueError where neither or both exist, where the index names a file or a tensor that
    does not exist, and where a file is damaged.
    """
    single, index = directory / f"{stem}.safetensors", directory / index_name(stem)
    if single.exists() and index.exists():
        raise ValueError(
            f"{directory}: holds both {single.name} and {index.name}, which may be two models; "
            "remove the one that is old"
        )
    if index.exists():
        return _with_blocks(directory, _indexed(directory, index))
    if not single.exists():
        pickled = any(directory.glob("*.bin"))
        mend = "; save it again with safe_serialization=True" if pickled else ""
        raise ValueError(f"{directory}: holds neither {single.name} nor {index.name}{mend}")
    entries = read_header(single).items()
    return _with_blocks(directory, {name: (single, entry) for name, entry in entries})


def _with_blocks(directory: Path, tensors: Mapping[str, tuple[Path, Entry]]) -> WeightFiles:
    """Return the table with the size of blocks; check that every 8-bit weight has its scales."""
    narrow = {name: entry for name, (_, entry) in tensors.items() if entry.dtype == QUANTISED}
    if not narrow:
        return WeightFiles(directory=directory, tensors=tensors)
    blocks, wrong = directory_blocks(directory), []
    for name, entry in narrow.items():
        _, scales = tensors.get(name + SCALES, (None, None))
        expected = scales_shape(entry.shape, blocks)
        if scales is None or scales.shape != expected:
            found = "missing" if scales is None else f"of shape {list(scales.shape)}"
            wrong.append(f"  {name}{SCALES} is {found}, must be {list(expected)}")
    if wrong:
        raise ValueError(
            f"{directory}: weights are float8 and their scales do not fit; {MEND}:\n"
            + "\n".join(wrong)
        )
    return WeightFiles(directory=directory, tensors=tensors, blocks=blocks)


def _indexed(directory: Path, index: Path) -> dict[str, tuple[Path, Entry]]:
    """Read the headers of the files in an index, and check that they hold the tensors it lists."""
    try:
        weight_map = json.loads(index.read_bytes())["weight_map"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{index}: no JSON object with a weight_map; {MEND}") from None
    if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
        raise ValueError(f"{index}: weight_map does not map names to files; {MEND}")
    names = sorted(set(weight_map.values()))
    if strange := [name for name in names if Path(name).name != name]:
        raise ValueError(f"{index}: names files outside its directory: {', '.join(strange)}")
    if absent := [name for name in names if not (directory / name).exists()]:
        raise ValueError(f"{index}: files it names are missing: {', '.join(absent)}; {MEND}")
    entries = {name: read_header(directory / name) for name in names}
    tensors, lost = {}, []
    for tensor, name in weight_map.items():
        if tensor in entries[name]:
            tensors[tensor] = (directory / name, entries[name][tensor])
        else:
            lost.append(f"{tensor} in {name}")
    if lost:
        raise ValueError(f"{index}: tensors it names are missing: {', '.join(lost)}; {MEND}")
    return tensors


def check_slices(directory: Path, slices: Iterable[Slice], stem: str = "model") -> None:
    """Check by its headers alone that a model directory has these slices.

    Raises ValueError as `load_slices` does.
    """
    _check(open_weights(directory, stem), slices)


def load_slices(
    directory: Path, slices: Iterable[Slice], tensors: Mapping[str, Tensor], stem: str = "model"
) -> WeightFiles:
    """Fill the parameters `tensors` with the slices of a model directory; return its table.

    Parameters may have any dtype, layout and device; values are converted as by `Tensor.copy_`.
    Parts of parameters without a slice are not changed, and tensors without a slice are ignored
    (`jllm.models.weights.extra` finds them).

    Raises ValueError, before the first read, that lists all missing tensors and wrong shapes.
    """
    files = open_weights(directory, stem)
    wanted = sorted(slices, key=lambda piece: _position(files, piece))
    _check(files, wanted)
    buffer = torch.empty(BUFFER_BYTES, dtype=torch.uint8)
    with torch.no_grad(), _descriptors() as descriptor_of:
        for piece in wanted:
            if 0 in piece.extents:
                continue
            path, entry = files.tensors[piece.tensor]
            target, scales, limit = tensors[piece.parameter], None, BUFFER_BYTES
            if entry.dtype == QUANTISED:
                scales, limit = _scales(files, piece, descriptor_of), BUFFER_BYTES // 4
            for part in split(piece, limit // entry.dtype.itemsize):
                source = _read(descriptor_of(path), path, entry, part, buffer)
                source = source if scales is None else scales.times(source, part.there)
                target[part.here_index].copy_(source)
    return files


def _scales(files: WeightFiles, piece: Slice, descriptor_of: Callable[[Path], int]) -> Scales:
    """Read the scales of the blocks that a slice overlaps."""
    assert files.blocks is not None, piece
    needed = scales_slice(piece, files.blocks)
    path, entry = files.tensors[needed.tensor]
    memory = torch.empty(span(needed) * entry.dtype.itemsize, dtype=torch.uint8)
    values = _read(descriptor_of(path), path, entry, needed, memory)
    return Scales(values=values, there=needed.there, blocks=files.blocks)


def _position(files: WeightFiles, piece: Slice) -> tuple[str, int, int]:
    """Return a sort key: the order of the slices' bytes on disk."""
    if piece.tensor not in files.tensors:
        return ("", 0, 0)
    path, entry = files.tensors[piece.tensor]
    return (path.name, entry.offset, first_element(piece))


def _check(files: WeightFiles, slices: Iterable[Slice]) -> None:
    """Raise one error that lists every tensor that is missing or has another shape."""
    wrong = {}
    for piece in slices:
        if piece.tensor not in files.tensors:
            wrong[piece.tensor] = "is missing"
        elif (found := files.tensors[piece.tensor][1].shape) != piece.shape:
            wrong[piece.tensor] = f"has shape {list(found)}, the model wants {list(piece.shape)}"
    if wrong:
        listed = "\n".join(f"  {name} {what}" for name, what in sorted(wrong.items()))
        raise ValueError(
            f"{files.directory}: {len(wrong)} tensors do not fit the model that its config.json"
            f" describes; take the files and the config.json of the same model:\n{listed}"
        )


@contextmanager
def _descriptors() -> Iterator:
    """Yield a function that opens each path once; all are closed at the end."""
    opened: dict[Path, int] = {}

    def descriptor_of(path: Path) -> int:
        if path not in opened:
            opened[path] = os.open(path, os.O_RDONLY)
        return opened[path]

    try:
        yield descriptor_of
    finally:
        for descriptor in opened.values():
            os.close(descriptor)


def _read(descriptor: int, path: Path, entry: Entry, part: Slice, buffer: Tensor) -> Tensor:
    """Read one part, whose span fits the buffer, and return a view of it in the part's shape."""
    item = entry.dtype.itemsize
    (run, *others) = runs(part)
    memory = buffer.numpy().data
    if not others and run.count > 1 and run.length * item >= _MIN_RUN_BYTES:
        size = run.length * item
        for number in range(run.count):
            start = entry.offset + (run.offset + number * run.stride) * item
            _fill(descriptor, path, memory[number * size : (number + 1) * size], start)
        values = buffer[: run.count * size].view(entry.dtype)
        return values.view(part.extents)
    size = span(part) * item
    _fill(descriptor, path, memory[:size], entry.offset + first_element(part) * item)
    return buffer[:size].view(entry.dtype).as_strided(part.extents, strides(part.shape))


def _fill(descriptor: int, path: Path, memory: memoryview, offset: int) -> None:
    """Fill the memory from the file at `offset`; a file that ends early is an error."""
    filled = 0
    while filled < len(memory):
        count = os.preadv(descriptor, [memory[filled:]], offset + filled)
        if count == 0:
            raise ValueError(f"{path}: ends at byte {offset + filled}, within a tensor; {MEND}")
        filled += count
