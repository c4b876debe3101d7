"""Convert numbered lines of input files to rows, partition by partition: the work of a Spark task.

It calls the functions of `jllm.raw2ids -n` on the same records, so it makes the same rows. Memory:
one input split and one packing window.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from jllm.data.convert.config import Raw2IdsConfig
from jllm.data.convert.count_records import count_result
from jllm.data.convert.encode_split import SplitEncoder
from jllm.data.convert.output_files import row_maker
from jllm.data.convert.setup import prepare_work
from jllm.data.convert.spark.partition_counts import account_text
from jllm.data.format.record_counts import RecordCounts
from jllm.data.format.row_multiset import RowMultiset, multiset_of
from jllm.data.format.schema import SOURCE, FileMetadata, arrow_schema
from jllm.data.packing.batches import DocumentBatch, PackedRows
from jllm.data.packing.padding import pad_rows
from jllm.data.records.input_files import Source, layout_of
from jllm.data.records.splits import SPLIT_BYTES, InputSplit
from jllm.data.tokenizer.load import load_tokenizer
from jllm.data.writing.row_writer import row_columns

ACCOUNT = "account"
"""The column of a partition's record counts: JSON in an extra row that is otherwise empty; null in
the other rows."""


class Line(NamedTuple):
    """A line of an input file."""

    source: str
    """The file's name below the input folder."""
    record: int
    """The record (from 0) that the line belongs to."""
    number: int
    """The line number in the file, from 1."""
    text: bytes
    """The line without its line ending."""


@dataclass(frozen=True, kw_only=True)
class Converter:
    """Converter of whole partitions."""

    config: Raw2IdsConfig
    work: SplitEncoder
    metadata: FileMetadata

    def convert(self, lines: Iterable[Line]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of all partitions of `lines`, sorted by source and line, and the record
        counts of each.
        """
        size = self.config.num_lines_per_partition
        assert size is not None
        for (source, partition), group in itertools.groupby(
            lines, lambda line: (line.source, line.record // size)
        ):
            yield from self._partition(source, partition * size, group)

    def _partition(self, name: str, first: int, lines: Iterator[Line]) -> Iterator[pa.RecordBatch]:
        source = _source(name, chats=self.metadata.kind != "pretrain")
        account, bag, most_blocks = RecordCounts(), RowMultiset(), 0
        maker = row_maker(self.metadata, stack=self.config.stack)
        schema = row_schema(self.metadata)

        def batches(blocks: Iterator[PackedRows]) -> Iterator[pa.RecordBatch]:
            nonlocal bag, most_blocks
            for block in blocks:
                if self.config.pad:
                    filler = self.metadata.document_end_id or 0
                    block = pad_rows(block, self.metadata.max_len, filler)
                most_blocks = max(most_blocks, int(block.bound_counts.max(initial=0)))
                columns = row_columns(block, name)
                rows = pa.RecordBatch.from_pydict(columns, arrow_schema(self.metadata))
                bag += multiset_of(rows)
                nothing = pa.nulls(len(block), pa.string())
                yield pa.RecordBatch.from_arrays([*rows.columns, nothing], schema=schema)

        for split in splits(lines, source):
            result = self.work(split)
            before = first + account.read
            count_result(account, source, result, stop=self.config.on_error == "stop")
            documents: DocumentBatch = result.documents
            if source.layout == "paragraphs":
                documents = replace(documents, records=before + 1 + result.record)
            yield from batches(maker.add(documents))
        yield from batches(maker.finish())
        empty: dict[str, Any] = {field.name: [] for field in schema}
        text = account_text(name, first, account, bag, most_blocks)
        row = empty | {SOURCE: "", ACCOUNT: text}
        yield pa.RecordBatch.from_pylist([row], schema=schema)


@functools.lru_cache(maxsize=1)
def converter_of(config: Raw2IdsConfig) -> Converter:
    """Return the converter for these settings; cached, so a worker process loads the tokenizer
    once.
    """
    tokenizer = load_tokenizer(config.tokenizer)
    work, metadata = prepare_work(config, config.kind, tokenizer, lambda _: None)
    return Converter(config=config, work=work, metadata=metadata)


def row_schema(metadata: FileMetadata) -> pa.Schema:
    """Return the columns of a data set's rows, and ACCOUNT."""
    return pa.schema([*arrow_schema(metadata), pa.field(ACCOUNT, pa.string())])


def splits(lines: Iterable[Line], source: Source) -> Iterator[InputSplit]:
    """Yield input splits of whole records, of about SPLIT_BYTES, from one partition's lines."""
    held: list[bytes] = []
    size, start, record = 0, 0, -1
    for line in lines:
        if size >= SPLIT_BYTES and line.record != record:
            yield _split_of(held, start, source)
            held, size = [], 0
        if not held:
            start = line.number
        held.append(line.text)
        size, record = size + len(line.text) + 1, line.record
    if held:
        yield _split_of(held, start, source)


def _split_of(lines: list[bytes], first_line: int, source: Source) -> InputSplit:
    data = b"".join(line + b"\n" for line in lines)
    start = first_line - 1  # 0 only at the start of a file, where a byte-order mark may stand
    return InputSplit(
        path=source.path,
        layout=source.layout,
        start=start,
        stop=start + len(data),
        first_line=first_line,
        data=data,
    )


def _source(name: str, *, chats: bool) -> Source:
    layout = layout_of(name, chats=chats)
    return Source(path=Path(name), relative=name, layout=layout, name=name, size=None)
