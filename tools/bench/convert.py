"""Compare text conversion with a loop of `tokenizers.encode_batch` and pyarrow, ids included.

    python tools/bench/convert.py --tokenizer MODEL --processes 2 --rounds 5

The text is the source of Python's standard library (its files cut at blank lines into documents of
about 2000 characters), or --text FILE.jsonl. Both sides read the same JSON lines with the same
number of processes and write zstd parquet: the loop one document a row, jllm rows of --max_len.
Runs are paired and interleaved; each pair gives a ratio of tokens/s, and the median counts. Loading
the tokenizer is not counted (the second ratio counts it; from the second pair on, ours comes from
the user's cache). Ids are compared after every pair.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from jllm.data.convert.config import Raw2IdsConfig
from jllm.data.convert.convert import convert
from jllm.data.convert.encode_split import EncodedSplit
from jllm.data.records.input_files import Source
from jllm.data.records.splits import InputSplit

SCHEMA = pa.schema([("input_ids", pa.list_(pa.int32()))])


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the benchmark."""

    tokenizer: Path
    """A folder with tokenizer.json."""
    text: Path | None = None
    """JSON lines with "text"; None: the standard library's source."""
    megabytes: float = 48.0
    """The most text of the standard library to use."""
    processes: int = 2
    """Processes of each side."""
    rounds: int = 5
    """Pairs of runs."""
    batch: int = 1000
    """Documents that the loop passes to encode_batch at once."""
    max_len: int = 2049
    """Ids in a row of jllm's."""


class Clock:
    """A reporter that notes when the conversion itself begins."""

    def begin(self, sources: Sequence[Source], taken: int) -> None:
        """Note the time: everything is loaded."""
        self.began = perf_counter()

    def advance(self, split: InputSplit, result: EncodedSplit) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Refuse a run without gigatoken, which would measure something else."""
        raise RuntimeError(text)


def main(options: Options) -> None:
    """Run the pairs, compare the ids, print."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    pairs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        text = options.text or write_standard_library(folder / "text.jsonl", options.megabytes)
        for number in range(options.rounds):
            loop, jllm = folder / f"loop{number}", folder / f"jllm{number}"
            sides: list[Callable[[], tuple[float, float]]] = [
                lambda loop=loop: run_loop(options, text, loop),
                lambda jllm=jllm: run_jllm(options, text, jllm),
            ]
            times = [side() for side in (sides if number % 2 == 0 else sides[::-1])]
            (loop_s, loop_all_s), (jllm_s, jllm_all_s) = times if number % 2 == 0 else times[::-1]
            tokens = compare(loop, jllm, end_of(options))
            pairs.append(
                {
                    "loop_tokens_per_second": tokens / loop_s,
                    "jllm_tokens_per_second": tokens / jllm_s,
                    "ratio": loop_s / jllm_s,
                    "ratio_with_loading": loop_all_s / jllm_all_s,
                }
            )
        size = text.stat().st_size
    figures = {name: statistics.median(pair[name] for pair in pairs) for name in pairs[0]}
    table = Table("median of the pairs", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.2f}" if value < 1000 else f"{value:,.0f}")
    console = Console()
    console.print(table)
    line = {
        "options": asdict(options),
        "text_bytes": size,
        "tokens": tokens,
        **figures,
        "ratios": [round(pair["ratio"], 2) for pair in pairs],
    }
    console.print(json.dumps(line, default=str), soft_wrap=True, highlight=False)


def run_jllm(options: Options, text: Path, output: Path) -> tuple[float, float]:
    """Return the seconds of one conversion, without and with loading the tokenizer."""
    clock, start = Clock(), perf_counter()
    config = Raw2IdsConfig(
        tokenizer=str(options.tokenizer),
        input=str(text),
        output=str(output),
        type="pretrain",
        stack=True,
        max_len=options.max_len,
        cores=options.processes,
    )
    convert(config, clock)
    return perf_counter() - clock.began, perf_counter() - start


def run_loop(options: Options, text: Path, output: Path) -> tuple[float, float]:
    """Return the same for the loop; process n writes `n.parquet`."""
    start = perf_counter()
    tokenizer = Tokenizer.from_file(str(options.tokenizer / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    end, began = end_of(options), perf_counter()
    output.mkdir()
    context = multiprocessing.get_context("fork")
    count = text.read_bytes().count(b"\n")
    share = -(-count // options.processes)
    workers = [
        context.Process(
            target=loop,
            args=(
                tokenizer,
                end,
                text,
                n * share,
                share,
                output / f"{n:03d}.parquet",
                options.batch,
            ),
        )
        for n in range(options.processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise RuntimeError("a process of the loop failed")
    return perf_counter() - began, perf_counter() - start


def loop(
    tokenizer: Tokenizer, end: int, text: Path, first: int, count: int, output: Path, batch: int
) -> None:
    """Do what a careful user writes: read lines, encode a batch, append it to a parquet file."""
    with text.open() as lines, pq.ParquetWriter(output, SCHEMA, compression="zstd") as writer:
        mine = islice(lines, first, first + count)
        while documents := [json.loads(line)["text"] for line in islice(mine, batch)]:
            encoded = tokenizer.encode_batch(documents, add_special_tokens=False)
            rows = pa.array([[*one.ids, end] for one in encoded], SCHEMA.field(0).type)
            writer.write_table(pa.table([rows], schema=SCHEMA))


def compare(loop: Path, jllm: Path, end: int) -> int:
    """Compare the ids of both sides and return their number."""
    expected = np.concatenate([ids.flatten() for ids in columns(loop)])
    parts: list[np.ndarray] = []
    for column in columns(jllm):
        for row in column:
            ids = row.values.to_numpy()
            parts.append(ids if not parts or parts[-1][-1] == end else ids[1:])
    stream = np.concatenate(parts)
    if not np.array_equal(stream[: len(expected)], expected) or set(stream[len(expected) :]) - {
        end
    }:
        raise RuntimeError("the ids differ")
    return len(expected)


def columns(folder: Path) -> Iterator[pa.ListArray]:
    """Yield the chunks of `input_ids` of all files, in order."""
    for file in sorted(folder.glob("*.parquet")):
        yield from pq.read_table(file, columns=["input_ids"])["input_ids"].chunks


def end_of(options: Options) -> int:
    """Return the document-end id: the end-of-sequence token named in tokenizer_config.json."""
    named = json.loads((options.tokenizer / "tokenizer_config.json").read_text())["eos_token"]
    text = named["content"] if isinstance(named, dict) else named
    end = Tokenizer.from_file(str(options.tokenizer / "tokenizer.json")).token_to_id(text)
    if end is None:
        raise ValueError(f"--tokenizer {options.tokenizer}: {text} is not in its vocabulary")
    return end


def write_standard_library(path: Path, megabytes: float) -> Path:
    """Write the standard library's source as JSON lines of about 2000 characters, cut at blank
    lines; return the path.
    """
    root, left = Path(sysconfig.get_path("stdlib")), megabytes * 1e6
    with path.open("w") as lines:
        for file in sorted(root.rglob("*.py")):
            if "site-packages" in file.parts or left <= 0:
                continue
            document: list[str] = []
            for block in [*file.read_text(errors="ignore").split("\n\n"), None]:
                if block is None or sum(map(len, document)) > 2000:
                    text = "\n\n".join(document)
                    if text.strip():
                        lines.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                        left -= len(text)
                    document = []
                document.append(block or "")
    return path


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
