"""Writing slices of tensors to their final places in safetensors files.

One rank creates the files at their full size. Then every rank writes its own slices with `pwrite`,
in any order and concurrently, in pieces of 8 MiB. A digest of every piece is computed on the way,
so that a flipped bit can be found later. Costs one pass over the bytes on four threads, and 32 MiB
where values are converted or lie on another device; digests run at about 1 GB/s a core.
"""

import errno
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from jllm.models.weights.format import Entry
from jllm.models.weights.manifest import Chunk, digest_of
from jllm.models.weights.plan import FilePlan
from jllm.models.weights.slices import Slice, runs, split

PIECE_BYTES = 8 * 2**20
THREADS = 4
_NO_ALLOCATION = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Values(Protocol):
    """A source of the values of a parameter: a tensor, or an object that computes them."""

    def __getitem__(self, index: tuple[slice, ...], /) -> Tensor:
        """Return the values of a box."""
        ...


def create_files(directory: Path, plan: FilePlan) -> list[Chunk]:
    """Create the planned files at full size with their headers, and the index; return the chunks.

    Space is allocated now, so a full disk raises OSError here rather than later.
    """
    chunks = []
    for file in plan.files:
        path = directory / file.name
        with naming_errors(path), path.open("xb") as out:
            allocate(out.fileno(), file.size)
            out.write(file.header)
        chunks.append(_chunk(file.name, 0, file.header))
    if plan.index is not None:
        with (directory / plan.index_name).open("xb") as out:
            out.write(plan.index)
        chunks.append(_chunk(plan.index_name, 0, plan.index))
    return chunks


def _chunk(file: str, offset: int, data: bytes) -> Chunk:
    """Return the chunk of some contiguous bytes."""
    length = len(data)
    return Chunk(
        file=file, offset=offset, length=length, count=1, stride=length, digest=digest_of(data)
    )


def allocate(descriptor: int, size: int) -> None:
    """Reserve the file's bytes on the disk; where that is not supported, only set its size."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in _NO_ALLOCATION:
            raise
        os.ftruncate(descriptor, size)


def write_slices(
    directory: Path, plan: FilePlan, slices: Iterable[Slice], tensors: Mapping[str, Values]
) -> list[Chunk]:
    """Write slices of the parameters `tensors` into the created files; return the chunks written.

    Values are converted to the planned dtype piece by piece, as by `Tensor.to`; parameters may be
    on any device. The files are not synced (see `sync_files`). Slices of several callers must not
    overlap unless they hold the same values.
    """
    places = plan.locate()
    pieces = list(slices)
    with ExitStack() as stack:
        descriptors = {}
        for name in {places[piece.tensor][0] for piece in pieces}:
            descriptors[name] = os.open(directory / name, os.O_WRONLY)
            stack.callback(os.close, descriptors[name])
        memory = threading.local()

        def write(part: Slice) -> list[Chunk]:
            name, entry = places[part.tensor]
            data = _bytes(tensors[part.parameter][part.here_index], entry.dtype, memory)
            with naming_errors(directory / name):
                return list(_write(descriptors[name], name, entry, part, data))

        pool = stack.enter_context(ThreadPoolExecutor(THREADS))
        parts = (part for piece in pieces for part in _parts(piece, places[piece.tensor][1]))
        return [chunk for chunks in pool.map(write, parts) for chunk in chunks]


def _parts(piece: Slice, entry: Entry) -> Iterator[Slice]:
    """Cut a slice into parts that fit the buffer."""
    assert entry.shape == piece.shape, f"planned with shape {entry.shape}: {piece}"
    return split(piece, PIECE_BYTES // entry.dtype.itemsize)


def _bytes(values: Tensor, dtype: torch.dtype, memory: threading.local) -> memoryview:
    """Return a part's row-major bytes in `dtype`, in this thread's buffer where they are copied."""
    if values.device.type == "cpu" and values.dtype == dtype and values.is_contiguous():
        flat = values.detach().view(-1)
    else:
        if not hasattr(memory, "buffer"):
            memory.buffer = torch.empty(PIECE_BYTES, dtype=torch.uint8)
        flat = memory.buffer[: values.numel() * dtype.itemsize].view(dtype)
        flat.view(values.shape).copy_(values.detach())
    return flat.view(torch.uint8).numpy().data


def _write(
    descriptor: int, name: str, entry: Entry, part: Slice, data: memoryview
) -> Iterator[Chunk]:
    """Write one part's bytes run by run; yield the chunks with their digests."""
    item, position = entry.dtype.itemsize, 0
    for run in runs(part):
        length, stride = run.length * item, run.stride * item
        mine = data[position : position + length * run.count]
        position += len(mine)
        offset = entry.offset + run.offset * item
        for number in range(run.count):
            start = number * length
            _put(descriptor, mine[start : start + length], offset + number * stride)
        yield Chunk(
            file=name,
            offset=offset,
            length=length,
            count=run.count,
            stride=stride,
            digest=digest_of(mine),
        )


def _put(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of the data at `offset`."""
    written = 0
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], offset + written)


def sync_files(directory: Path, names: Iterable[str]) -> None:
    """Force the named files to the disk."""
    for name in sorted(set(names)):
        descriptor = os.open(directory / name, os.O_RDONLY)
        try:
            with naming_errors(directory / name):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def naming_errors(path: Path) -> Iterator[None]:
    """Add the name of the file, and the remedy for a full disk, to an OSError without them."""
    try:
        yield
    except OSError as error:
        mend = "; make room there, or write elsewhere" if error.errno in _NO_ROOM else ""
        raise OSError(error.errno, f"{error.strerror}{mend}", str(path)) from error
