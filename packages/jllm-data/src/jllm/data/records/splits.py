"""Input splits: parts of an input file that hold whole records.

A split holds whole lines of JSON lines, whole documents of a text, or whole rows of a table. The
cuts depend only on the (decompressed) bytes and the limits, never on the number of processes or on
the compression. One process reads a file once, at the speed of the disk or of the decompression,
and holds one split in memory, or one record if that is longer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jllm.data.records.decompress import SourceStream, open_stream
from jllm.data.records.input_files import STDIN, RecordLayout, Source
from jllm.data.records.input_names import MAX_RECORD_BYTES
from jllm.data.records.tables import RowBatch, cut_rows

SPLIT_BYTES = 1 << 20
"""A split ends at the last record that begins and ends within this many bytes."""
_SEPARATORS = 8
"""An upper bound on the bytes of the separators around a record."""


@dataclass(frozen=True, kw_only=True)
class InputSplit:
    """Bytes [start, stop) of a file (decompressed); `first_line` is their first line, from 1.

    For a table: rows [start, stop), whose data are an Arrow stream (`tables.rows_of`).
    data: the bytes, if the file cannot be read from the middle. taken: bytes of the file on disk
    read since the previous split. too_long: the split is the beginning of one record that exceeds
    the limit, so it is not read.
    """

    path: Path
    layout: RecordLayout
    start: int
    stop: int
    first_line: int
    data: bytes | None = None
    taken: int = 0
    too_long: bool = False


def cut_splits(
    source: Source, *, max_lines: int, max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[InputSplit]:
    """Yield the splits of a file in order; together they hold all bytes but too long records.

    The rest of such a record is read only when the next split is requested. Raises ValueError where
    compressed data is damaged.
    """
    if source.layout == "rows":
        yield from _cut_table(source, max_lines)
        return
    kept = source.codec is not None or source.path == STDIN
    limit = max(SPLIT_BYTES, max_record_bytes + _SEPARATORS)
    with open_stream(source) as stream:
        held, start, line, taken = b"", 0, 1, 0
        while True:
            held, whole = _fill(stream, held, source.layout, limit)
            if not held:
                return
            block = held[:whole]
            block = block[: _after_lines(block, source.layout, max_lines)]
            yield InputSplit(
                path=source.path,
                layout=source.layout,
                start=start,
                stop=start + (len(block) or len(held)),
                first_line=line,
                data=block if kept else None,
                taken=stream.taken - taken,
                too_long=not block,
            )
            taken = stream.taken
            if block:
                start, line = start + len(block), line + block.count(b"\n")
                held = held[len(block) :]
            else:
                held, count, lines = _skip_record(stream, held, source.layout)
                start, line = start + count, line + lines


def _cut_table(source: Source, max_rows: int) -> Iterator[InputSplit]:
    """Yield the splits of a table; `taken` of a split counts the bytes read before it.

    The last split reports all the remaining bytes.
    """
    told = 0
    for batch, last in _with_last(cut_rows(source.path, max_rows=max_rows, max_bytes=SPLIT_BYTES)):
        read = min(max(batch.read, told), source.size or 0) if not last else source.size or 0
        yield InputSplit(
            path=source.path,
            layout="rows",
            start=batch.first,
            stop=batch.first + batch.count,
            first_line=batch.first + 1,
            data=batch.data,
            taken=read - told,
        )
        told = read


def _with_last(batches: Iterator[RowBatch]) -> Iterator[tuple[RowBatch, bool]]:
    """Yield each batch and whether it is the last."""
    held = next(batches, None)
    for batch in batches:
        assert held is not None
        yield held, False
        held = batch
    if held is not None:
        yield held, True


def read_split(split: InputSplit) -> bytes:
    """Return the bytes of a split. Raises OSError if the file has become shorter meanwhile."""
    if split.data is not None or split.too_long:
        return split.data or b""
    count, parts = split.stop - split.start, []
    descriptor = os.open(split.path, os.O_RDONLY)
    try:
        while count and (part := os.pread(descriptor, count, split.stop - count)):
            parts.append(part)
            count -= len(part)
    finally:
        os.close(descriptor)
    if count:
        raise OSError(f"{split.path}: the file became shorter while it was read")
    return b"".join(parts)


def _fill(stream: SourceStream, held: bytes, layout: RecordLayout, limit: int) -> tuple[bytes, int]:
    """Return the buffer, refilled from the stream, and how many of its bytes are whole records.

    These are the records that end within `SPLIT_BYTES`, or the first one if it is longer; 0 if
    that one is longer than `limit`.
    """
    wanted = SPLIT_BYTES
    while True:
        if len(held) < wanted:
            held += stream.read(wanted - len(held))
        if len(held) < wanted:
            return held, len(held)
        cut = _last_end(held, layout, wanted)
        if cut or wanted == limit:
            return held, cut
        wanted = min(2 * wanted, limit)


def _skip_record(stream: SourceStream, held: bytes, layout: RecordLayout) -> tuple[bytes, int, int]:
    """Skip to the end of a record; return the buffer after it, and its bytes and lines."""
    count = lines = 0
    while True:
        end = _first_end(held, layout)
        more = b"" if end else stream.read(SPLIT_BYTES)
        gone = end or (len(held) - 2 if more else len(held))
        count, lines = count + gone, lines + held.count(b"\n", 0, gone)
        held = held[gone:] + more
        if not more:
            return held, count, lines


def _last_end(block: bytes, layout: RecordLayout, stop: int) -> int:
    """Return the end of the last separator before `stop`; 0 if there is none."""
    if layout == "lines":
        return block.rfind(b"\n", 0, stop) + 1
    found = [(block.rfind(one, 0, stop), len(one)) for one in (b"\n\n", b"\n\r\n")]
    return max((at + length for at, length in found if at >= 0), default=0)


def _first_end(block: bytes, layout: RecordLayout, start: int = 0) -> int:
    """Return the end of the first separator at or after `start`; 0 if there is none."""
    if layout == "lines":
        return block.find(b"\n", start) + 1
    found = [(block.find(one, start), len(one)) for one in (b"\n\n", b"\n\r\n")]
    return min((at + length for at, length in found if at >= 0), default=0)


def _after_lines(block: bytes, layout: RecordLayout, max_lines: int) -> int:
    """Return the end of the first separator at or after line `max_lines` of the block."""
    if block.count(b"\n") <= max_lines:
        return len(block)
    at = 0
    for _ in range(max_lines):
        at = block.index(b"\n", at) + 1
    return at if layout == "lines" else _first_end(block, layout, at - 1) or len(block)
