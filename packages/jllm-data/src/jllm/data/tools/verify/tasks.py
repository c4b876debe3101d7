"""One part of a check: some row groups of a file, or all bytes of a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jllm.data.format.digests import file_digest, row_group_digest
from jllm.data.format.info import FileInfo
from jllm.data.format.schema import CU_SEQLENS, FIELDS, LABELS, PROVENANCE
from jllm.data.reading.row_decoder import ragged
from jllm.data.tools.verify.check_rows import RowRules, check_rows, count_targets

LARGEST_GROUP = 1 << 30
"""A larger decoded row group (bytes) is not read, since a reader holds one for each lane."""


@dataclass(frozen=True, kw_only=True)
class GroupsUnit:
    """Row groups [start, stop) of a file."""

    path: Path
    start: int
    stop: int
    digests: tuple[str, ...] | None
    """Of these row groups, if an info file states them."""
    bytes: int
    """The approximate bytes to read, for the progress display."""


@dataclass(frozen=True, kw_only=True)
class BytesUnit:
    """All bytes of a file that an info file lists."""

    path: Path
    listed: FileInfo
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The result of a task."""

    findings: tuple[str, ...] = ()
    max_num_blocks: int = 0
    targets: int = 0
    """Positions with a target."""
    numbers: tuple[np.ndarray, ...] = ()
    """Numbers of RL prompts, int32 [rows] for each row group without findings."""


@dataclass(frozen=True, kw_only=True)
class CheckUnit:
    """Checker of a task; callable in a worker process."""

    rules: RowRules

    def __call__(self, unit: GroupsUnit | BytesUnit) -> Checked:
        """Check a task; never raises an error about the data."""
        if isinstance(unit, BytesUnit):
            return Checked(findings=tuple(check_bytes(unit.path, unit.listed)))
        findings, blocks, targets = list[str](), 0, 0
        numbers: tuple[np.ndarray, ...] = ()
        try:
            with pq.ParquetFile(unit.path, page_checksum_verification=True) as file:
                for index in range(unit.start, unit.stop):
                    digest = unit.digests[index - unit.start] if unit.digests else None
                    where = f"{unit.path}, row group {index}"
                    checked = self._group(file, index, digest, where)
                    findings += checked.findings
                    blocks = max(blocks, checked.max_num_blocks)
                    targets += checked.targets
                    numbers += checked.numbers
        except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
            findings.append(f"{unit.path}: cannot be opened ({error})")
        return Checked(
            findings=tuple(findings), max_num_blocks=blocks, targets=targets, numbers=numbers
        )

    def _group(self, file: pq.ParquetFile, index: int, digest: str | None, where: str) -> Checked:
        size = file.metadata.row_group(index).total_byte_size
        if size > LARGEST_GROUP:
            return Checked(findings=(f"{where}: takes {size >> 20} MiB, row groups must be small",))
        try:
            table = file.read_row_group(index, use_threads=False)
        except (OSError, LookupError, ValueError, MemoryError) as error:
            return Checked(findings=(f"{where}: cannot be read ({error})",))
        names = [name for name in (*FIELDS, *PROVENANCE) if name in table.schema.names]
        columns = {name: table[name] for name in names}
        findings = [*_check_digest(columns, digest, where), *check_rows(columns, self.rules, where)]
        if findings:
            return Checked(findings=tuple(findings))
        if self.rules.kind == "rl":
            return Checked(numbers=(ragged(columns[LABELS], LABELS).values,))
        blocks = 2
        if CU_SEQLENS in columns and table.num_rows:
            blocks = pc.max(pc.list_value_length(columns[CU_SEQLENS])).as_py()
        return Checked(max_num_blocks=blocks, targets=count_targets(columns, self.rules))


def check_bytes(path: Path, listed: FileInfo) -> Iterator[str]:
    """Check size and digest of a whole file against its info file."""
    try:
        size = path.stat().st_size
        if listed.bytes is not None and size != listed.bytes:
            yield f"{path}: has {size} bytes, the info file states {listed.bytes}"
        elif listed.digest is not None and (found := file_digest(path)) != listed.digest:
            yield f"{path}: its digest is {found}, the info file states {listed.digest}"
    except OSError as error:
        yield f"{path}: cannot be read ({error.strerror})"


def _check_digest(
    columns: Mapping[str, pa.ChunkedArray], digest: str | None, where: str
) -> Iterator[str]:
    if digest is None:
        return
    try:
        fields = {name: columns[name] for name in FIELDS if name in columns}
        found = row_group_digest(fields)
    except ValueError:
        return  # nulls, which the checks of rows report
    if found != digest:
        yield f"{where}: its digest is {found}, the info file states {digest}"
