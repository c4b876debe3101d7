"""Small data sets as raw2ids writes them, and runs of the shuffle in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from jllm.data.format.info import info_text
from jllm.data.format.record_counts import Problem, RecordCounts
from jllm.data.format.schema import FileMetadata
from jllm.data.packing.batches import PackedRows
from jllm.data.runtime.memory import MemoryPlan
from jllm.data.tools.shuffle import shuffle as shuffle_module
from jllm.data.tools.shuffle.config import ShuffleConfig, check_shuffle_config
from jllm.data.tools.shuffle.shuffle import Shuffled, shuffle
from jllm.data.writing.row_writer import RowWriter

METADATA = FileMetadata(
    kind="ft",
    max_len=33,
    tokenizer_digest="t",
    chat_template_digest="c",
    document_end_id=1,
)


class Quiet:
    """Shows nothing."""

    def begin(self, name: str, total: int, unit: str) -> None: ...

    def advance(self, amount: int) -> None: ...


def write_dataset(
    folder: Path,
    rows: int,
    *,
    first: int = 0,
    metadata: FileMetadata = METADATA,
    file_rows: int = 300,
    name: str = "data",
) -> Path:
    """Chats of two documents a row; row i begins with id 10 + first + i, so all rows differ."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = RowWriter(
        folder,
        metadata,
        lambda number: f"{name}-00000-chunk-{number:02d}.zstd.parquet",
        source=f"{name}.jsonl",
        file_rows=file_rows,
        compression="zstd",
    )
    rng = np.random.default_rng(first)
    for start in range(0, rows, 70):  # row groups of uneven content, whatever writers do
        writer.add(_rows(rng, start, min(70, rows - start), first, metadata.max_len))
    writer.finish()
    account = RecordCounts(read=2 * rows + 3, tokens=rows, trained_tokens=7)
    account.dropped["empty text"] = 3
    problem = Problem(line=4, reason="empty text", detail="", fatal=False)
    account.dropped_examples += [("data.jsonl", problem)] * 3
    text = info_text(metadata, writer.files, account, writer.max_num_blocks)
    (folder / f"{name}_info.json").write_text(text)
    return folder


def _rows(rng: np.random.Generator, start: int, count: int, first: int, max_len: int) -> PackedRows:
    lengths = rng.integers(6, max_len + 1, count)
    ids = rng.integers(10, 99, int(lengths.sum())).astype(np.int32)
    begins = np.cumsum(lengths) - lengths
    ids[begins] = 10 + first + start + np.arange(count)
    trained = rng.random(len(ids)) < 0.5
    middles = rng.integers(2, lengths - 2)
    trained[begins] = trained[begins + middles] = False
    bounds = np.stack([np.zeros(count, int), middles, lengths - 1], axis=1).ravel()
    return PackedRows(
        ids=ids,
        row_lengths=lengths,
        bounds=bounds.astype(np.int32),
        bound_counts=np.full(count, 3),
        records=2 * (start + np.arange(2 * count) // 2) + 1,
        labels=np.where(trained, ids, -100).astype(np.int32),
    )


def run_shuffle(
    monkeypatch: Any,
    dataset: Path | str,
    output: Path,
    *,
    processes: int = 1,
    held: int = 1 << 20,
    **settings: Any,
) -> Shuffled:
    """Shuffle with exactly this plan of memory (bytes of rows that each process holds)."""
    plan = MemoryPlan(processes=processes, buffer_bytes=held)
    monkeypatch.setattr(shuffle_module, "plan_memory", lambda *_: plan)
    settings = {"num_block": 4, **settings}
    config = ShuffleConfig(datasets=str(dataset), output=str(output), **settings)
    check_shuffle_config(config)
    return shuffle(config, Quiet())


def all_rows(folder: Path) -> list[dict[str, Any]]:
    """All rows of a folder, all columns, in the order of the relative names."""
    files = sorted(folder.rglob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def the_info(folder: Path) -> dict[str, Any]:
    """The content of the one info file of a folder."""
    (path,) = folder.glob("*_info.json")
    return json.loads(path.read_text())


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file's bytes, by relative name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
