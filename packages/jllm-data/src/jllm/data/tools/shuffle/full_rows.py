"""Parquet files with all their columns, for the tools that move whole rows.

Training readers take only the columns that they know; here every column is kept, and the key-value
metadata too. Dictionary columns are read as plain values (files still store them encoded).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jllm.data.format.digests import row_group_digest
from jllm.data.format.schema import FIELDS, nullable_type
from jllm.data.reading.dataset import Dataset, RowGroup
from jllm.data.storage.paths import Location, local_path

_THREADS = 16
_BUFFER = 1 << 20
"""Bytes of a column read from a file at once."""
_BATCH_ROWS = 256
"""The most rows in a batch; dictionary texts may need far more memory than a footer states."""


@dataclass(frozen=True, kw_only=True)
class WholeFiles:
    """What the footers of many files state about whole rows."""

    schema: pa.Schema
    """The schema of all files, with the metadata that all of them share."""
    group_bytes: np.ndarray
    """int64 [row groups]: approximate memory of each."""
    disk_bytes: int
    """The size of all files together."""


def read_whole_files(datasets: Sequence[Dataset]) -> WholeFiles:
    """Read all footers. Raises ValueError, naming the file, where columns or types differ."""
    paths = list(dict.fromkeys(group.file for data in datasets for group in data.row_groups))
    with ThreadPoolExecutor(_THREADS) as pool:
        footers = list(pool.map(pq.read_metadata, paths))
    schemas = [_plain_schema(footer.schema.to_arrow_schema()) for footer in footers]
    loose = [_nullable_schema(schema) for schema in schemas]
    shared = dict(footers[0].metadata or {})
    for path, schema, footer in zip(paths, loose, footers, strict=True):
        if not schema.equals(loose[0]):
            raise ValueError(
                f"{path} and {paths[0]} differ in columns: {_columns(schema)} and "
                f"{_columns(loose[0])}; shuffle data of one form together"
            )
        pairs = footer.metadata or {}
        shared = {key: value for key, value in shared.items() if pairs.get(key) == value}
    first = schemas[0] if all(schema.equals(schemas[0]) for schema in schemas) else loose[0]
    shared.pop(b"ARROW:schema", None)
    sizes = {
        (path, index): _memory_bytes(footer.row_group(index), schema)
        for path, schema, footer in zip(paths, schemas, footers, strict=True)
        for index in range(footer.num_row_groups)
    }
    groups = [sizes[group.file, group.index] for data in datasets for group in data.row_groups]
    return WholeFiles(
        schema=first.with_metadata(shared or None),
        group_bytes=np.array(groups, dtype=np.int64),
        disk_bytes=sum(local_path(path).stat().st_size for path in paths),
    )


def read_whole_group(
    file: pq.ParquetFile, group: RowGroup, schema: pa.Schema, *, batch_bytes: int, group_bytes: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a row group in order, in batches of about `batch_bytes` and few rows.

    A row group with a digest is read at once and checked. Raises ValueError, naming file and row
    group, if it cannot be read or has changed.
    """
    where = f"{group.file}, row group {group.index}"
    rows = group.rows
    if group.digest is None:
        rows = max(1, min(rows, _BATCH_ROWS, rows * batch_bytes // max(1, group_bytes)))
    try:
        for batch in file.iter_batches(rows, [group.index], use_threads=False):
            batch = _cast(batch, schema)
            if group.digest is not None:
                columns = {
                    name: batch.column(name) for name in FIELDS if name in batch.schema.names
                }
                found = row_group_digest(columns)
                if found != group.digest or batch.num_rows != group.rows:
                    raise ValueError(
                        f"digest is {found}, the info file states {group.digest}: it is damaged or "
                        "was changed"
                    )
            yield batch
    except (OSError, LookupError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise ValueError(f"{where}: {error}; copy the file or convert it again") from error


def open_whole_file(path: Location) -> pq.ParquetFile:
    """Open a file for `read_whole_group`: no read-ahead, page checksums checked."""
    try:
        return pq.ParquetFile(
            local_path(path), buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True
        )
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path}: cannot be opened ({error}); copy it or convert again") from error


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    if batch.schema.equals(schema):
        return batch
    columns = [batch.column(field.name).cast(field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema without metadata and dictionaries, and with plain lists."""
    return pa.schema([_plain_field(field) for field in schema])


def _plain_field(field: pa.Field) -> pa.Field:
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = pa.list_(_plain_field(kind.value_field))
    return pa.field(field.name, kind, nullable=field.nullable)


def _nullable_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field(field.name, nullable_type(field.type)) for field in schema])


def _memory_bytes(group: pq.RowGroupMetaData, schema: pa.Schema) -> int:
    """Return the decoded bytes: number of values × width, if the type has a fixed width."""
    total = 0
    for index in range(group.num_columns):
        column = group.column(index)
        kind = schema.field(column.path_in_schema.split(".")[0]).type
        total += max(column.total_uncompressed_size, column.num_values * _width(kind))
        total += 4 * group.num_rows
    return total


def _width(kind: pa.DataType) -> int:
    if pa.types.is_list(kind):
        return _width(kind.value_type)
    return kind.bit_width // 8 if pa.types.is_primitive(kind) else 0


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
