"""Read rows of Parquet and Arrow files as input records: a file into splits, a split into rows.

A split is an Arrow stream of one record batch of at most about a megabyte (or one row). The cuts
depend on the file alone. Memory is bounded by one batch: Parquet pages are read as needed; an Arrow
batch is read as it was written. Columns that no record format uses are reduced to whether they are
null.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from jllm.data.records.formats.look import KEYS
from jllm.data.records.unusable import Unusable

TABLES = (".parquet", ".arrow")


@dataclass(frozen=True, kw_only=True)
class RowBatch:
    """Rows of a table file from number `first` (from 0), as an Arrow stream.

    read: the position in the file when the batch was read, in bytes.
    """

    first: int
    count: int
    data: bytes
    read: int


def cut_rows(path: Path, *, max_rows: int, max_bytes: int) -> Iterator[RowBatch]:
    """Yield the rows of a table file in batches, in order.

    Raises ValueError where the file is damaged, truncated or has two columns with the same name.
    """
    first = 0
    try:
        for batch, read in _batches(path, max_rows, max_bytes):
            names = batch.schema.names
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise ValueError(f"{path}: has two columns {twice!r}; rename or drop one")
            batch = _needed(batch)
            step = max(1, min(max_rows, batch.num_rows * max_bytes // max(1, batch.nbytes)))
            for start in range(0, batch.num_rows, step):
                part = batch.slice(start, step)
                rows = part.num_rows
                yield RowBatch(first=first, count=rows, data=_stream_of(part), read=read)
                first += rows
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(
            f"{path}: no whole {path.suffix[1:]} file: {error}; copy it again, or make it anew"
        ) from error


def rows_of(data: bytes, max_bytes: int) -> Iterator[dict[str, Any] | Unusable | None]:
    """Yield the rows of a batch's stream as objects without null fields; None: more than
    `max_bytes`.
    """
    with pa.ipc.open_stream(data) as stream:
        batch = stream.read_next_batch()
    large = batch.nbytes > max_bytes
    values: list[dict[str, Any]] = []
    if not large:
        with contextlib.suppress(UnicodeDecodeError):
            values = batch.to_pylist()
    for number in range(batch.num_rows):
        if values:
            yield _without_nulls(values[number])
            continue
        row = batch.slice(number, 1)
        if row.nbytes > max_bytes:
            yield None
            continue
        try:
            yield _without_nulls(row.to_pylist()[0])
        except UnicodeDecodeError as error:
            yield Unusable(
                "invalid UTF-8", f"{error}; expected UTF-8 text: mend the row, or leave it out"
            )


def holds_ids(path: Path) -> bool:
    """Return whether a Parquet file holds converted rows (`input_ids`) instead of records."""
    import pyarrow.parquet as pq

    try:
        return "input_ids" in pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        return False  # the error is reported when the file is read


def _batches(path: Path, max_rows: int, max_bytes: int) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Return the record batches of the file, each with the position reached in the file."""
    return (_of_parquet if path.suffix == ".parquet" else _of_arrow)(path, max_rows, max_bytes)


def _of_parquet(path: Path, max_rows: int, max_bytes: int) -> Iterator[tuple[pa.RecordBatch, int]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, buffer_size=1 << 16, pre_buffer=False) as file:
        metadata, read = file.metadata, 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            of_a_row = group.total_byte_size // max(1, group.num_rows)
            rows = max(1, min(max_rows, max_bytes // max(1, of_a_row)))
            for batch in file.iter_batches(rows, row_groups=[number], use_threads=False):
                yield batch, read
            columns = (group.column(column) for column in range(group.num_columns))
            read += sum(column.total_compressed_size for column in columns)


def _of_arrow(path: Path, max_rows: int, max_bytes: int) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Read both Arrow formats: the stream (which `datasets` writes) and the file."""
    with pa.OSFile(str(path)) as file:
        if file.read(6) == b"ARROW1":
            with pa.ipc.open_file(file) as reader:
                for number in range(reader.num_record_batches):
                    yield _sound(reader.get_batch(number)), file.tell()
            return
        file.seek(0)
        with pa.ipc.open_stream(file) as reader:
            for batch in reader:
                yield _sound(batch), file.tell()


def _sound(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch after checking its offsets; UTF-8 is checked later, row by row."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise
    return batch


def _needed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with each column that no record format uses reduced to true or null."""
    import pyarrow.compute as pc

    columns = [
        column
        if name in KEYS
        else pc.if_else(column.is_valid(), pa.scalar(True), pa.scalar(None, pa.bool_()))
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _stream_of(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _without_nulls(value: Any) -> Any:
    """Return the value without null fields: a struct has every field that any of its rows has."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    return value
