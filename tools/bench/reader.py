"""Measure the lane reader: tokens a second and core, time to the first batch, time to resume.

    python tools/bench/reader.py --rows 16384 --max-len 4097 --global-batch-size 64
    python tools/bench/reader.py --rows 32000 --max-len 65 --rows-per-group 16 --groups-per-file 1

Writes a data set of packed rows (log-normal documents, log-uniform ids) to a temporary folder, or
reads --data. Reads one whole epoch in order, as fast as it can, then jumps to several steps. The
files are in the page cache. Two times need no data: finding step 10⁶ of 10⁷ rows (aim: under
0.05 s) and counting the finest weights of a mixture (under 0.5 s); the best of nine. Prints a table
and one JSON line. A core's rate is tokens ÷ CPU seconds of the process, including all threads,
decompression and digests.
"""

from __future__ import annotations

import json
import resource
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro
from rich.console import Console
from rich.table import Table

from jllm.data.format.digests import row_group_digest
from jllm.data.format.schema import FileMetadata, arrow_schema
from jllm.data.reading.dataset import Dataset, open_dataset
from jllm.data.reading.mixture_shares import MOST_PLACES, Shares
from jllm.data.reading.order import locate
from jllm.data.reading.reader import LaneReader

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the benchmark."""

    data: Path | None = None
    """A folder to read instead of writing one."""
    rows: int = 16384
    """Rows to write."""
    max_len: int = 4097
    """Ids in a row."""
    rows_per_group: int = 256
    """Rows of a row group."""
    groups_per_file: int = 16
    """Row groups of a file."""
    compression: str = "zstd"
    """Compression of the files; the default is that of raw2ids."""
    labels: bool = False
    """Write packed chats (labels beside the ids) instead of stacked text."""
    global_batch_size: int = 64
    """Rows of a step, all read by this one reader."""


def main(options: Options) -> None:
    """Write the data, measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        path = options.data or write(Path(folder), options)
        opened, dataset = timed(lambda: open_dataset(path, lazy=True))
        figures = {"open_seconds": opened, **measure(dataset, options), **plan()}
    table = Table("measured", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.4g}" if value < 1000 else f"{value:,.0f}")
    console = Console()
    console.print(table)
    line = json.dumps({"options": asdict(options), **figures}, default=str)
    console.print(line, soft_wrap=True, highlight=False)


def measure(dataset: Dataset, options: Options) -> dict[str, float]:
    """Return seconds, tokens a second and bytes of reading `dataset`."""
    size, length = options.global_batch_size, dataset.max_len - 1

    def reader() -> LaneReader:
        return LaneReader(dataset, seed=1, global_batch_size=size, lanes=range(size))

    figures: dict[str, float] = {"rows": dataset.num_rows, "row_groups": len(dataset.row_groups)}
    start, start_cpu = perf_counter(), process_time()
    with reader() as lanes:
        epoch = lanes.steps_per_epoch
        waits = [timed(lambda step=step: lanes.read(step))[0] for step in range(epoch)]
    wall, cpu = perf_counter() - start, process_time() - start_cpu
    tokens = epoch * size * length
    figures |= {
        "steps_per_epoch": epoch,
        "epoch_seconds": wall,
        "tokens_per_second": tokens / wall,
        "tokens_per_cpu_second": tokens / cpu,
        "first_batch_seconds": waits[0],
        "median_step_seconds": float(np.median(waits[1:])),
        "slowest_later_step_seconds": max(waits[1:]),
    }
    for place in (epoch // 2, 10 * epoch + epoch // 3, 10**6, 10**9):
        with reader() as lanes:
            figures[f"resume_at_step_{place}_seconds"] = timed(
                lambda lanes=lanes, place=place: lanes.read(place)
            )[0]
    figures["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return figures


def plan() -> dict[str, float]:
    """Return the seconds of work on metadata alone: seeking, and the shares of a mixture."""
    seeks, shares = [], []
    for i in range(9):
        rows = np.random.default_rng(i).geometric(0.01, size=100_000)
        seeks.append(timed(lambda rows=rows: locate(rows, 1, 512, 1_000_000, range(512)))[0])
        weights = (MOST_PLACES - 8 - i, 5, 3 + i)  # different each time, because results are cached
        fine = Shares(weights=weights, global_batch_size=512)
        shares.append(timed(lambda fine=fine: fine.lanes)[0])
    return {"seek_seconds": min(seeks), "finest_weights_seconds": min(shares)}


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Return the seconds that `work` takes, and its result."""
    start = perf_counter()
    result = work()
    return perf_counter() - start, result


def write(folder: Path, options: Options) -> Path:
    """Write a data set of full rows; return its folder."""
    rng = np.random.default_rng(0)
    metadata = FileMetadata(
        kind="ft" if options.labels else "pretrain",
        max_len=options.max_len,
        tokenizer_digest="bench",
        document_end_id=0,
    )
    schema = arrow_schema(metadata, provenance=False)
    files, left = [], options.rows
    while left:
        path = folder / f"{len(files):05}.parquet"
        groups, held = [], 0
        with pq.ParquetWriter(path, schema, compression=options.compression) as writer:
            for _ in range(options.groups_per_file):
                rows = min(left, options.rows_per_group)
                if rows:
                    table = random_rows(rng, rows, schema, options)
                    writer.write_table(table, row_group_size=rows)
                    columns = {name: table.column(name) for name in schema.names}
                    groups.append({"num_samples": rows, "digest": row_group_digest(columns)})
                    left, held = left - rows, held + rows
        about = {"name": path.name, "bytes": path.stat().st_size, "row_groups": groups}
        files.append({**about, "num_samples": held})
    info = {"num_samples": options.rows, "max_len": options.max_len, "files": files}
    (folder / "bench_info.json").write_text(json.dumps(info))
    return folder


def random_rows(
    rng: np.random.Generator, rows: int, schema: pa.Schema, options: Options
) -> pa.Table:
    """Return full rows with documents of about 600 ids, from a vocabulary of 50 000."""
    ids = np.exp(rng.random((rows, options.max_len)) * np.log(50_000)).astype(np.int32)
    columns = {"input_ids": list(ids), "cu_seqlens": [bounds(rng, options) for _ in range(rows)]}
    if options.labels:
        columns["labels"] = list(np.where(rng.random(ids.shape) < 0.5, ids, np.int32(-100)))
    return pa.table([pa.array(columns[name], schema.field(name).type) for name in schema.names],
                    schema=schema)  # fmt: skip


def bounds(rng: np.random.Generator, options: Options) -> np.ndarray:
    """Return the document bounds of one row: 0 … max_len − 1."""
    ends = np.cumsum(rng.lognormal(6, 0.9, size=options.max_len // 16 + 1).astype(np.int32) + 2)
    last = options.max_len - 1
    return np.concatenate(([0], ends[ends < last], [last])).astype(np.int32)


if __name__ == "__main__":
    main(tyro.cli(Options))
