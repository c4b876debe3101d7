"""Write the parquet files of one input file from the results of its splits, from any partition."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jllm.data.convert.config import Raw2IdsConfig
from jllm.data.convert.count_records import count_result
from jllm.data.convert.encode_split import EncodedSplit
from jllm.data.convert.output_files import FileOutput, OutputSettings
from jllm.data.convert.resume import ResumeState, Tree
from jllm.data.format.info import FileInfo, file_info
from jllm.data.format.record_counts import RecordCounts, record_counts_of
from jllm.data.format.schema import FileMetadata
from jllm.data.packing.batches import DocumentBatch
from jllm.data.records.input_files import Source
from jllm.data.records.splits import InputSplit


@dataclass(frozen=True, kw_only=True)
class ConvertedFile:
    """The result of one input file."""

    source: Source
    account: RecordCounts
    rows: int
    row_ids: int
    max_len: int
    max_num_blocks: int
    files: tuple[FileInfo, ...]

    @property
    def fill(self) -> float:
        """Ids in the rows ÷ ids that would fit, 0 … 1."""
        return self.row_ids / (self.rows * self.max_len) if self.rows else 0.0


def converted_file_of(source: Source, tree: Tree) -> ConvertedFile:
    """Return the logged result of a finished input file."""
    return ConvertedFile(
        source=source,
        account=record_counts_of(tree["account"]),
        files=tuple(file_info(file) for file in tree["files"]),
        **{name: tree[name] for name in ("rows", "row_ids", "max_len", "max_num_blocks")},
    )


def convert_source(
    config: Raw2IdsConfig,
    source: Source,
    results: Iterator[tuple[InputSplit, EncodedSplit]],
    metadata: FileMetadata,
    log: ResumeState,
    advance: Callable[[InputSplit, EncodedSplit], None],
) -> ConvertedFile:
    """Write the parquet files of `source` to the log's folder, and update the log.

    `results`: those of the splits not yet in the log; `advance` is called for each.
    """
    account, taken, splits = RecordCounts(), 0, 0
    output = FileOutput(
        folder=log.folder,
        name=source.name,
        source=source.relative,
        metadata=metadata,
        settings=OutputSettings(
            stack=config.stack,
            pad=config.pad,
            file_rows=config.batch_size,
            partition_records=config.num_lines_per_partition,
            compression=config.compress,
        ),
    )
    try:
        if log.open is not None:
            account = record_counts_of(log.open["account"])
            output.restore(log.open["output"])
            splits, taken = log.open["splits"], log.open["taken"]
        for split, result in results:
            before, read = account.tree(), account.read
            count_result(account, source, result, stop=config.on_error == "stop")
            begun = output.add(_numbered(split, result, read), result.record, result.read)
            if begun is not None and log.due:
                log.open = {
                    "source": source.relative,
                    "splits": splits,
                    "taken": taken,
                    "account": before,
                    "output": begun,
                }
                log.save()
            splits, taken = splits + 1, taken + split.taken
            advance(split, result)
        if not account.read and config.on_error == "stop":
            raise ValueError(
                f"{source.path}: the file is empty, expected at least one record (blank lines are "
                "none); remove it, or pass over such files with --on_error skip"
            )
        output.finish()
    finally:
        output.abandon()
    tree = {
        "account": account.tree(),
        "taken": taken,
        "rows": output.rows,
        "row_ids": output.row_ids,
        "max_len": metadata.max_len,
        "max_num_blocks": output.max_num_blocks,
        "files": [dataclasses.asdict(file) for file in output.files],
    }
    log.finish(source.relative, tree)
    return converted_file_of(source, tree)


def _numbered(split: InputSplit, result: EncodedSplit, before: int) -> DocumentBatch:
    """Return the documents with user-facing numbers: lines or, in text, record numbers.

    `before`: records of the file before this split.
    """
    if split.layout != "paragraphs":
        return result.documents
    return dataclasses.replace(result.documents, records=before + 1 + result.record)
