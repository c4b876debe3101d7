"""One input file → its parquet files, from the results of its units; also from the middle on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jllm.data.convert.config import Raw2IdsConfig
from jllm.data.convert.count_records import count_result
from jllm.data.convert.encode_split import UnitResult
from jllm.data.convert.output_files import FileOutput, OutputSettings
from jllm.data.convert.resume import Tree, WorkLog
from jllm.data.format.info import FileInfo, file_info
from jllm.data.format.record_counts import Account, account_of
from jllm.data.format.schema import FileMetadata
from jllm.data.packing.batches import DocumentBatch
from jllm.data.records.input_files import Source
from jllm.data.records.splits import Unit


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What became of one input file."""

    source: Source
    account: Account
    rows: int
    row_ids: int
    max_len: int
    max_num_blocks: int
    files: tuple[FileInfo, ...]

    @property
    def fill(self) -> float:
        """Ids in the rows ÷ ids that would fit, 0 … 1."""
        return self.row_ids / (self.rows * self.max_len) if self.rows else 0.0


def converted_of(source: Source, tree: Tree) -> Converted:
    """What the log says of a finished input file."""
    return Converted(
        source=source,
        account=account_of(tree["account"]),
        files=tuple(file_info(file) for file in tree["files"]),
        **{name: tree[name] for name in ("rows", "row_ids", "max_len", "max_num_blocks")},
    )


def convert_source(
    config: Raw2IdsConfig,
    source: Source,
    results: Iterator[tuple[Unit, UnitResult]],
    metadata: FileMetadata,
    log: WorkLog,
    advance: Callable[[Unit, UnitResult], None],
) -> Converted:
    """Write the parquet files of `source` to the log's folder, and keep the log.

    `results`: those of the units that the log does not know of yet; `advance` is told of each.
    """
    account, taken, units = Account(), 0, 0
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
            account = account_of(log.open["account"])
            output.restore(log.open["output"])
            units, taken = log.open["units"], log.open["taken"]
        for unit, result in results:
            before = account.read
            count_result(account, source, result, stop=config.on_error == "stop")
            output.add(_numbered(unit, result, before), result.record, result.read)
            units, taken = units + 1, taken + unit.taken
            state = output.end_unit(wanted=log.due)
            if state is not None:
                log.open = {
                    "source": source.relative,
                    "units": units,
                    "taken": taken,
                    "account": account.tree(),
                    "output": state,
                }
                log.save()
            advance(unit, result)
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
    return converted_of(source, tree)


def _numbered(unit: Unit, result: UnitResult, before: int) -> DocumentBatch:
    """The documents by what a person finds them by: lines, or, in text, the how manieth record.

    `before`: records of the file before this unit.
    """
    if unit.layout == "lines":
        return result.documents
    return dataclasses.replace(result.documents, records=before + 1 + result.record)
