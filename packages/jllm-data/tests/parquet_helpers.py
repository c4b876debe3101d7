"""Small data folders for tests, and a plain second reading of their rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jllm.data.format.digests import row_group_digest
from jllm.data.format.schema import FIELDS, FileMetadata, arrow_schema

Row = Mapping[str, Sequence[int]]
INT32_LISTS = pa.list_(pa.int32())


def numbered_rows(count: int, *, length: int = 9, first: int = 0) -> list[Row]:
    """Stacked rows of `length` ids; row i is all i, so a batch tells which rows it holds."""
    return [
        {"input_ids": [first + i] * length, "cu_seqlens": [0, length - 1]} for i in range(count)
    ]


def write_parquet(
    path: Path,
    rows: Sequence[Row],
    *,
    row_group_size: int = 4,
    metadata: FileMetadata | None = None,
    **options: object,
) -> dict[str, object]:
    """Write one file; return its entry in an info file's "files"."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(rows[0]) if rows else ["input_ids", "cu_seqlens"]
    columns = {name: pa.array([row[name] for row in rows], INT32_LISTS) for name in names}
    table = pa.table(columns)
    if metadata is not None:
        table = table.cast(arrow_schema(metadata, provenance=False))
    pq.write_table(table, path, row_group_size=row_group_size, **options)
    groups = [table.slice(i, row_group_size) for i in range(0, len(rows), row_group_size)]
    return {
        "name": path.name,
        "num_samples": len(rows),
        "row_groups": [
            {
                "num_samples": group.num_rows,
                "digest": row_group_digest(
                    {name: group.column(name) for name in names if name in FIELDS}
                ),
            }
            for group in groups
        ],
    }


def write_info(
    folder: Path,
    *,
    num_samples: int,
    max_len: int,
    files: Sequence[Mapping[str, object]] | None = None,
    name: str = "data_info.json",
    **more: object,
) -> Path:
    """Write an info file: the hand-written form, or with `files` the form of raw2ids."""
    content = {"num_samples": num_samples, "max_len": max_len, "max_num_blocks": 9, **more}
    if files is not None:
        content["files"] = list(files)
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def write_folder(
    folder: Path,
    files: Mapping[str, Sequence[Row]],
    *,
    max_len: int = 9,
    row_group_size: int = 4,
    digests: bool = True,
    metadata: FileMetadata | None = None,
    **options: object,
) -> Path:
    """A whole data folder: files by name, and one info file (with digests, or without any list)."""
    listed = [
        write_parquet(
            folder / name, rows, row_group_size=row_group_size, metadata=metadata, **options
        )
        for name, rows in files.items()
    ]
    for entry, name in zip(listed, files, strict=True):
        entry["name"] = name
    write_info(
        folder,
        num_samples=sum(len(rows) for rows in files.values()),
        max_len=max_len,
        files=listed if digests else None,
    )
    return folder


def read_plainly(
    row: Row, max_len: int, document_end_id: int | None
) -> tuple[list[int], list[int], list[int]]:
    """(tokens, targets, bounds) of one row, position by position."""
    ids, labels = row["input_ids"], row.get("labels")
    bounds = list(row.get("cu_seqlens", [0, len(ids) - 1]))
    tokens, targets = [], []
    for position in range(max_len - 1):
        if position >= len(ids) - 1:
            tokens.append(document_end_id or 0)
            targets.append(-100)
            continue
        tokens.append(ids[position])
        ends_document = position + 1 in bounds[1:-1]
        after_end = labels is None and document_end_id == ids[position]
        target = (ids if labels is None else labels)[position + 1]
        targets.append(-100 if ends_document or after_end else target)
    if bounds[-1] < max_len - 1:
        bounds.append(max_len - 1)
    return tokens, targets, bounds
