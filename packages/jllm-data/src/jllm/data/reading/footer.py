"""A parquet file's footer: which of jllm's columns it has, how many rows, and its metadata."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from jllm.data.format.kinds import Kind
from jllm.data.format.limits import TooLarge, check_footer_length, check_rows
from jllm.data.format.schema import (
    FIELDS,
    INPUT_IDS,
    LABELS,
    FileMetadata,
    fields_of,
    read_metadata,
)
from jllm.data.storage.paths import Location, listed_stamp
from jllm.data.storage.remote_path import RemotePath, Stamp
from jllm.data.storage.retries import RemoteError

_NEEDS_MORE = ("image_ids",)
"""Columns that rows depend on and jllm cannot read; files with them are refused."""


@dataclass(frozen=True, kw_only=True)
class Footer:
    """The facts kept of one file's footer."""

    path: Location
    stamp: Stamp | None
    """The file's stamp when the data set was opened."""
    kind: Kind
    """The kind by the metadata; for files written by other tools, "ft" if they have labels."""
    columns: tuple[str, ...]
    """All columns in the file."""
    fields: tuple[str, ...]
    """The columns that are read, in the order of `schema.FIELDS`."""
    group_rows: tuple[int, ...]
    """Rows of each row group."""
    size: int
    """The size of the footer in bytes."""
    metadata: FileMetadata | None
    """None for files written by other tools."""

    @property
    def num_rows(self) -> int:
        """The number of rows in the file."""
        return sum(self.group_rows)


def read_footer(path: Location) -> Footer:
    """Read and check one footer. Raises ValueError with the file and the remedy."""
    try:
        found = listed_stamp(path)
        return footer_of(path, found, _read(path, found))
    except (RemoteError, PermissionError):
        raise
    except (OSError, pa.ArrowException, MemoryError, TooLarge) as error:
        raise ValueError(
            f"{path}: no readable parquet footer ({error}); it is cut short or damaged: copy it "
            "or convert it again"
        ) from error


def footer_of(path: Location, found: Stamp | None, footer: pq.FileMetaData) -> Footer:
    """Check a footer.

    Raises ValueError with the file and the remedy, TooLarge for absurd counts.
    """
    schema = footer.schema.to_arrow_schema()
    groups = tuple(footer.row_group(i).num_rows for i in range(footer.num_row_groups))
    check_rows(groups)
    fields = tuple(name for name in FIELDS if name in schema.names)
    try:
        metadata = read_metadata(footer.metadata)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    _check_columns(schema, fields_of(metadata.kind) if metadata else (INPUT_IDS,), path)
    return Footer(
        path=path,
        stamp=found,
        kind=metadata.kind if metadata else ("ft" if LABELS in fields else "pretrain"),
        columns=tuple(schema.names),
        fields=fields,
        group_rows=groups,
        size=footer.serialized_size,
        metadata=metadata,
    )


def _read(path: Location, found: Stamp) -> pq.FileMetaData:
    if isinstance(path, RemotePath):
        return pq.read_metadata(pa.BufferReader(footer_bytes(path, found.size)))
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 8))
        check_footer_length(file.read(8))
    return pq.read_metadata(path)


def _check_columns(schema: pa.Schema, needed: tuple[str, ...], path: Location) -> None:
    for name in needed:
        if name not in schema.names:
            raise ValueError(
                f"{path}: has no column {name!r} (columns: {', '.join(schema.names) or 'none'}); "
                "text is converted with python -m jllm.raw2ids"
            )
    for name in _NEEDS_MORE:
        if name in schema.names:
            raise ValueError(f"{path}: column {name!r}: rows with images are not read here")
    for name in (name for name in FIELDS if name in schema.names):
        kind = schema.field(name).type
        lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        if not lists or kind.value_type != pa.int32():
            raise ValueError(
                f"{path}: column {name!r} is {kind}, expected list<int32>: cast it "
                "(Spark: array<int>) and write the file again"
            )


class FooterCache:
    """A cache of the footers read last. Safe for several threads."""

    def __init__(self, files: int) -> None:
        """`files`: the most footers that are kept."""
        self._files, self._lock = files, threading.Lock()
        self._footers: OrderedDict[Location, pq.FileMetaData] = OrderedDict()

    def __len__(self) -> int:
        return len(self._footers)

    def get(self, path: Location) -> pq.FileMetaData | None:
        """Return the file's footer if it is kept."""
        with self._lock:
            if path in self._footers:
                self._footers.move_to_end(path)
            return self._footers.get(path)

    def keep(self, path: Location, footer: pq.FileMetaData) -> None:
        """Keep a footer; drop the least recently used one if there are too many."""
        with self._lock:
            self._footers[path] = footer
            if len(self._footers) > self._files:
                self._footers.popitem(last=False)

    def clear(self) -> None:
        """Drop all footers."""
        with self._lock:
            self._footers.clear()


_TAIL = 64 << 10
"""The bytes read from a remote file's end for its footer; more only for a longer footer."""


def footer_bytes(path: RemotePath, size: int) -> bytes:
    """Return the end of a remote parquet file of `size` bytes, from the footer on."""
    tail = path.read(max(0, size - _TAIL), size)
    check_footer_length(tail[-8:])
    length = int.from_bytes(tail[-8:-4], "little") + 8 if tail[-4:] == b"PAR1" else 0
    if len(tail) < length <= size:
        tail = path.read(size - length, size - len(tail)) + tail
    return tail
