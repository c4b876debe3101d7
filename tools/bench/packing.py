"""Measure packing: how full the rows are, and documents a second.

    python tools/bench/packing.py --chats ids/train

Packs documents of log-normal lengths (100 000), and the documents of a folder written by
`jllm.raw2ids` (--chats: the quickstart's). `assign_rows` assigns each document to a row; `whole` is
all of packing: the rows' ids, labels and bounds as the writer takes them. Medians of --rounds.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow.parquet as pq
import tyro
from rich.console import Console
from rich.table import Table

from jllm.data.packing.batches import DocumentBatch
from jllm.data.packing.packer import Packer, assign_rows
from jllm.data.reading.dataset import open_dataset


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the benchmark."""

    chats: Path | None = None
    """A folder of packed rows, whose documents are packed again."""
    documents: int = 100_000
    """Number of log-normal documents."""
    mean: float = 5.0
    """Mean of the logarithm of their lengths."""
    sigma: float = 1.0
    """Standard deviation of the logarithm of their lengths."""
    max_len: int = 2049
    """Ids in a row of the log-normal documents."""
    rounds: int = 5
    """Runs of each."""


def main(options: Options) -> None:
    """Measure and print."""
    lengths = np.random.default_rng(0).lognormal(options.mean, options.sigma, options.documents)
    cases = {"log-normal": (lengths.astype(np.int64).clip(2, options.max_len), options.max_len)}
    if options.chats is not None:
        cases["chats"] = lengths_in(options.chats)
    table = Table("documents", "rows", "fill", "assign_rows, documents/s", "whole, documents/s")
    figures = {}
    for name, (case, capacity) in cases.items():
        figures[name] = measure(case, capacity, options.rounds)
        shown = figures[name]
        table.add_row(
            f"{name}: {len(case):,}",
            f"{shown['rows']:,.0f}",
            f"{shown['fill']:.3%}",
            f"{shown['assign_rows_documents_per_second']:,.0f}",
            f"{shown['whole_documents_per_second']:,.0f}",
        )
    console = Console()
    console.print(table)
    line = json.dumps({"options": asdict(options), **figures}, default=str)
    console.print(line, soft_wrap=True, highlight=False)


def measure(lengths: np.ndarray, capacity: int, rounds: int) -> dict[str, float]:
    """Return rows, fill and documents/s of packing documents of these lengths."""
    documents = DocumentBatch(
        ids=np.arange(lengths.sum(), dtype=np.int32),
        lengths=lengths,
        records=np.arange(len(lengths)),
        loss_mask=np.ones(lengths.sum(), bool),
    )
    size = len(documents)
    batches = [documents.slice(at, min(at + 4096, size)) for at in range(0, size, 4096)]
    rows = 0

    def whole() -> None:
        nonlocal rows
        packer = Packer(capacity)
        blocks = [block for batch in batches for block in packer.add(batch)]
        rows = sum(len(block) for block in [*blocks, *packer.finish()])

    assigning = statistics.median(seconds(lambda: assign_rows(lengths, capacity), rounds))
    packing = statistics.median(seconds(whole, rounds))
    return {
        "rows": rows,
        "fill": int(lengths.sum()) / (rows * capacity),
        "assign_rows_documents_per_second": len(lengths) / assigning,
        "whole_documents_per_second": len(lengths) / packing,
    }


def seconds(work: Callable[[], object], rounds: int) -> list[float]:
    """Return the seconds of each of `rounds` runs, after one warm-up."""
    work()
    times = []
    for _ in range(rounds):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return times


def lengths_in(folder: Path) -> tuple[np.ndarray, int]:
    """Return the lengths of the documents in a folder's rows, and the rows' max_len."""
    dataset = open_dataset(folder)
    lengths = []
    for file in sorted(folder.glob("*.parquet")):
        table = pq.read_table(file, columns=["input_ids", "cu_seqlens"])
        for ids, bounds in zip(table["input_ids"], table["cu_seqlens"], strict=True):
            edges = [*bounds.values.to_numpy()[:-1], len(ids.values)]
            lengths.append(np.diff(edges))
    return np.concatenate(lengths).astype(np.int64), dataset.max_len


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
