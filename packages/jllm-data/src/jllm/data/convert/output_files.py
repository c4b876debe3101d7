"""Write the documents of one input file to its parquet files, partition by partition."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jllm.data.format.file_names import chunk_name
from jllm.data.format.info import FileInfo, file_info
from jllm.data.format.schema import FileMetadata
from jllm.data.packing.batches import DocumentBatch, PackedRows
from jllm.data.packing.one_per_row import PromptRows
from jllm.data.packing.packer import Packer
from jllm.data.packing.padding import pad_rows
from jllm.data.packing.stacker import Stacker
from jllm.data.writing.row_writer import RowWriter


@dataclass(frozen=True, kw_only=True)
class OutputSettings:
    """How documents are packed into rows, and rows split into files."""

    stack: bool
    pad: bool
    file_rows: int
    """Rows in a file."""
    partition_records: int | None
    """Input records in a partition; None: a single partition."""
    compression: str


@dataclass(kw_only=True)
class FileOutput:
    """The parquet files of one input file, written to `folder` as `<name>-NNNNN-chunk-NN.…`.

    Each partition (`--num_lines_per_partition`) starts new rows and a new file.
    """

    folder: Path
    name: str
    source: str
    """The value of the column `source`."""
    metadata: FileMetadata
    settings: OutputSettings
    files: list[FileInfo] = field(default_factory=list)
    max_num_blocks: int = 0
    rows: int = 0
    row_ids: int = 0
    """Ids in the rows, excluding padding."""

    def __post_init__(self) -> None:
        self._partition = 0
        self._records = 0
        self._skip = 0
        """Leading records of the next documents that are already in finished partitions."""
        self._maker, self._writer = self._new_partition()

    def add(
        self, documents: DocumentBatch, record: np.ndarray, records: int
    ) -> dict[str, Any] | None:
        """Add the documents of `records` records; record: int64 [documents], ascending.

        Returns the state from which `restore` can restart at the last partition that began here,
        given these same documents; None if no partition began here.
        """
        limit, begun = self.settings.partition_records, None
        first, self._skip = self._skip, 0
        while limit is not None and self._records + (records - first) > limit:
            stop = first + limit - self._records
            self._take(documents, record, first, stop)
            self.finish()
            self._partition += 1
            self._records, first = 0, stop
            begun = {
                "files": [dataclasses.asdict(file) for file in self.files],
                "max_num_blocks": self.max_num_blocks,
                "rows": self.rows,
                "row_ids": self.row_ids,
                "partition": self._partition,
                "skip": first,
            }
            self._maker, self._writer = self._new_partition()
        self._take(documents, record, first, records)
        self._records += records - first
        return begun

    def finish(self) -> None:
        """Write all remaining rows and close the partition's last file."""
        self._write(self._maker.finish())
        self._writer.finish()
        self.files += self._writer.files
        self.max_num_blocks = max(self.max_num_blocks, self._writer.max_num_blocks)

    def restore(self, state: dict[str, Any]) -> None:
        """Restart the partition whose state `add` returned; its files are in the folder."""
        self.files = [file_info(file) for file in state["files"]]
        self.max_num_blocks = state["max_num_blocks"]
        self.rows, self.row_ids = state["rows"], state["row_ids"]
        self._partition, self._skip = state["partition"], state["skip"]
        self._writer.abandon()
        self._maker, self._writer = self._new_partition()

    def abandon(self) -> None:
        """Close open files after an error."""
        self._writer.abandon()

    def _take(self, documents: DocumentBatch, record: np.ndarray, first: int, stop: int) -> None:
        start, end = np.searchsorted(record, (first, stop))
        if start < end:
            self._write(self._maker.add(documents.slice(int(start), int(end))))

    def _write(self, blocks: Iterator[PackedRows]) -> None:
        for block in blocks:
            self.rows += len(block)
            self.row_ids += int(block.row_lengths.sum())
            if self.settings.pad:
                filler = self.metadata.document_end_id or 0
                block = pad_rows(block, self.metadata.max_len, filler)
            self._writer.add(block)

    def _new_partition(self) -> tuple[Packer | PromptRows | Stacker, RowWriter]:
        maker = row_maker(self.metadata, stack=self.settings.stack)
        writer = RowWriter(
            self.folder,
            self.metadata,
            partial(chunk_name, self.name, self._partition, self.settings.compression),
            source=self.source,
            file_rows=self.settings.file_rows,
            compression=self.settings.compression,
        )
        return maker, writer


def row_maker(metadata: FileMetadata, *, stack: bool) -> Packer | PromptRows | Stacker:
    """Return the object that makes rows of the documents of one partition."""
    if metadata.kind == "rl":
        return PromptRows()
    if stack:
        assert metadata.document_end_id is not None
        return Stacker(metadata.max_len, metadata.document_end_id)
    return Packer(metadata.max_len)
