"""Compare jllm-data with its peers: conversion, shuffling and reading; and how cost grows.

    pip install datasets datatrove mosaicml-streaming      # the peers
    python tools/bench/data.py --tokenizer MODEL --rounds 3
    python tools/bench/data.py --tokenizer MODEL --what read --megabytes 16
    python tools/bench/data.py --tokenizer MODEL --what growth --plot growth.svg

The text is the source of Python's standard library. Every run has its own process; the ways take
turns, in another order each round. Prints medians, and the median over rounds of the peer's
figure ÷ jllm's. Token ids are compared after every conversion. Shuffling and reading use the output
of jllm's conversion (for mosaicml-streaming the same rows in its own format).
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Literal

import convert
import data_ways
import numpy as np
import tyro
from growth_plot import draw_growth
from rich.console import Console
from rich.table import Table

What = Literal["convert", "shuffle", "read", "growth"]
Runs = dict[str, list[dict[str, Any]]]
WAYS = Path(data_ways.__file__)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the benchmark."""

    tokenizer: Path
    """A folder with tokenizer.json."""
    what: tuple[What, ...] = ("convert", "shuffle", "read")
    """What to compare."""
    megabytes: float = 48.0
    """The most text to use."""
    copies: int = 1
    """How often the text is repeated."""
    processes: int = 2
    """Processes of each way of converting and shuffling."""
    rounds: int = 3
    """Runs of each way."""
    max_len: int = 2049
    """Ids in a row."""
    batch: int = 8
    """Rows of a step when reading."""
    plot: Path = Path("growth.svg")
    """Where `growth` writes its plot."""


def main(options: Options) -> None:
    """Measure and print."""
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = convert.write_standard_library(folder / "text.jsonl", options.megabytes)
        text.write_bytes(text.read_bytes() * options.copies)
        if "convert" in options.what:
            runs = converting(options, text, folder)
            commands = {way: runs.pop(way) for way in ("jllm_command", "jllm_command_first")}
            report(console, "conversion", runs, "converting")
            del runs["jllm_convert"]
            report(console, "conversion, all of a process", commands | runs, "process_seconds")
        rows = folder / "rows"
        run("jllm_convert", **conversion(options, text, rows))
        if "shuffle" in options.what:
            report(console, "shuffle", shuffling(options, rows, folder), "seconds", "peak_bytes")
        if "read" in options.what:
            report(console, "read", reading(options, rows, folder), "cpu_seconds", "first_batch")
        if "growth" in options.what:
            growth(console, options, text, folder)


def run(way: str, **arguments: Any) -> dict[str, Any]:
    """Run one way in its own process; return its figures, and the seconds of the whole process."""
    command = [sys.executable, str(WAYS), way, json.dumps(arguments)]
    quiet = {"TOKENIZERS_PARALLELISM": "false", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    began = perf_counter()
    done = subprocess.run(command, env=os.environ | quiet, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{way} failed:\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1]) | {"process_seconds": perf_counter() - began}


def in_turn(ways: dict[str, Callable[[], dict[str, Any]]], rounds: int) -> Runs:
    """Run every way once a round, in another order each time."""
    runs: Runs = {way: [] for way in ways}
    order = random.Random(0)
    for _ in range(rounds):
        for way in order.sample(sorted(ways), len(ways)):
            runs[way].append(ways[way]())
    return runs


def conversion(options: Options, text: Path, output: Path) -> dict[str, Any]:
    """Return the arguments of a converting way."""
    return {
        "text": str(text),
        "output": str(output),
        "tokenizer": str(options.tokenizer),
        "processes": options.processes,
    }


def converting(options: Options, text: Path, folder: Path) -> Runs:
    """Convert in three ways, and with our command with the user's cache and without cached data.

    The ids are compared each time.
    """
    lines = text.read_bytes().splitlines(keepends=True)
    parts = folder / f"{text.name}.parts"
    parts.mkdir()
    for number in range(options.processes):  # datatrove reads one file a task
        share = -(-len(lines) // options.processes)
        part = lines[number * share : (number + 1) * share]
        (parts / f"{number}.jsonl").write_bytes(b"".join(part))
    settings = convert.Options(tokenizer=options.tokenizer)
    end, kept = convert.end_of(settings), folder / "kept"
    run("datasets_convert", **conversion(options, text, kept))

    def once(way: str) -> dict[str, Any]:
        output = folder / way
        if way == "jllm_command_first":
            shutil.rmtree(data_ways.cache_of(text))
        figures = run(way.removesuffix("_first"), **conversion(options, text, output))
        if way == "datatrove_convert":
            theirs = np.concatenate(
                [np.fromfile(f, np.uint16) for f in sorted(output.glob("*.ds"))]
            )
            figures["differing"] = differing(theirs, kept, end)
        if way.startswith("jllm"):
            convert.compare(kept, output, end)
        shutil.rmtree(output)
        return figures

    run("jllm_convert", **conversion(options, text, folder / "warm"))
    names = ("jllm_convert", "jllm_command", "jllm_command_first")
    names += ("datasets_convert", "datatrove_convert")
    return in_turn({way: lambda way=way: once(way) for way in names}, options.rounds)


def differing(stream: np.ndarray, kept: Path, end: int) -> int:
    """Count datatrove's documents with other ids: it recognizes special tokens in text."""
    theirs = np.split(stream, np.flatnonzero(stream == end) + 1)
    ours = [row.values.to_numpy() for column in convert.columns(kept) for row in column]
    if len(theirs) - 1 != len(ours):
        raise RuntimeError(f"datatrove wrote {len(theirs) - 1} documents of {len(ours)}")
    return sum(not np.array_equal(a, b) for a, b in zip(theirs, ours, strict=False))


def shuffling(options: Options, rows: Path, folder: Path) -> Runs:
    """Shuffle in two ways to parquet with Snappy; and only read and write the same rows."""

    def once(way: str) -> dict[str, Any]:
        output = folder / way
        figures = run(way, data=str(rows), output=str(output), processes=options.processes)
        shutil.rmtree(output)
        return figures

    names = ("jllm_shuffle", "datasets_shuffle", "arrow_copy")
    return in_turn({way: lambda way=way: once(way) for way in names}, options.rounds)


def reading(options: Options, rows: Path, folder: Path) -> Runs:
    """Read a shuffled epoch in three ways."""
    mosaic = folder / "mosaic"
    run("mosaic_write", data=str(rows), mosaic=str(mosaic))
    arguments: dict[str, Any] = {"data": str(rows), "mosaic": str(mosaic)}
    arguments |= {"batch": options.batch, "max_len": options.max_len}
    names = ("jllm_read", "mosaic_read", "datasets_read")
    return in_turn({way: lambda way=way: run(way, **arguments) for way in names}, options.rounds)


def report(console: Console, title: str, runs: Runs, *figures: str) -> None:
    """Print a table of medians and ratios, and one JSON line."""
    ours = next(way for way in runs if way.startswith("jllm"))
    table = Table("way", *[f"{name}{word}" for name in figures for word in ("", " ÷ jllm's")])
    table.title = title
    line: dict[str, Any] = {"what": title}
    for way, found in runs.items():
        cells = []
        for figure in figures:
            values = [one[figure] for one in found]
            pairs = zip(values, runs[ours], strict=True)
            ratio = median(value / mine[figure] for value, mine in pairs)
            cells += [f"{median(values):,.3g}", f"{ratio:.2f}"]
            line[f"{way}.{figure}"] = [round(median(values), 3), round(ratio, 3)]
        if "differing" in found[0]:
            line[f"{way}.differing_documents"] = found[0]["differing"]
        if "tokens" in found[0]:
            per_core = median(one["tokens"] / one["cpu_seconds"] for one in found)
            line[f"{way}.tokens_per_cpu_second"] = round(per_core)
        table.add_row(way, *cells)
    console.print(table)
    console.print(json.dumps(line), soft_wrap=True, highlight=False)


def growth(console: Console, options: Options, text: Path, folder: Path) -> None:
    """Measure 1, 4 and 16 times the text; plot seconds against size, both logarithmic."""
    points: dict[str, list[tuple[float, float]]] = {"convert": [], "shuffle": [], "read": []}
    rows = folder / "grown"
    for times in (1, 4, 16):
        grown = folder / f"grown{times}.jsonl"
        with grown.open("wb") as file:
            for _ in range(times):
                file.write(text.read_bytes())
        size = grown.stat().st_size / 1e6
        figures = run("jllm_convert", **conversion(options, grown, rows))
        points["convert"].append((size, figures["converting"]))
        shuffled = folder / "shuffled"
        points["shuffle"].append(
            (
                size,
                run("jllm_shuffle", data=str(rows), output=str(shuffled), processes=1)["seconds"],
            )
        )
        read = run("jllm_read", data=str(rows), batch=options.batch)
        points["read"].append((size, read["reading"]))
        for path in (rows, shuffled):
            shutil.rmtree(path)
    options.plot.write_text(draw_growth(points, "MB of text", "seconds"))
    console.print(json.dumps({"what": "growth", **points}), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
