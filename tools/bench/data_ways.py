"""Run one way of converting, shuffling or reading in its own process; for `data.py`.

    python tools/bench/data_ways.py WAY '{"…": …}'

Prints one JSON line: seconds (wall, after importing libraries), cpu_seconds and peak_bytes of the
process and those it started (of the largest child), and figures of the way. Peers are imported
inside their functions, so each needs only the libraries that it measures.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from jllm.data.runtime.memory import resident_bytes

EPOCH_SEED = 1


def cache_of(text: object) -> str:
    """Return the cache folder for conversions of `text`, which lies beside it."""
    return f"{text}.cache"


def jllm_convert(text: str, output: str, tokenizer: str, processes: int) -> dict[str, Any]:
    """Pack JSON lines into stacked rows of parquet."""
    from convert import Options, run_jllm

    os.environ["XDG_CACHE_HOME"] = cache_of(text)
    options = Options(tokenizer=Path(tokenizer), processes=processes)
    return {"converting": run_jllm(options, Path(text), Path(output))[0]}


def jllm_command(text: str, output: str, tokenizer: str, processes: int) -> dict[str, Any]:
    """Pack JSON lines into stacked rows with the command itself."""
    from jllm.raw2ids import main

    flags = ["--type", "pretrain", "--stack", "--max_len", "2049", "--cores", str(processes)]
    os.environ["XDG_CACHE_HOME"] = cache_of(text)
    sys.argv = ["raw2ids", "--tokenizer", tokenizer, "-i", text, "-o", output, *flags]
    if main():
        raise RuntimeError("the command failed")
    return {}


def datasets_convert(text: str, output: str, tokenizer: str, processes: int) -> dict[str, Any]:
    """Tokenize with `datasets.map` and the fast tokenizer; one document a row of parquet."""
    from datasets import load_dataset
    from transformers import PreTrainedTokenizerFast

    end = json.loads(Path(tokenizer, "tokenizer_config.json").read_text())["eos_token"]
    fast = PreTrainedTokenizerFast(tokenizer_file=f"{tokenizer}/tokenizer.json", eos_token=end)
    fast.split_special_tokens = True

    def tokenise(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        ids = fast(batch["text"], add_special_tokens=False, return_attention_mask=False)
        return {"input_ids": [[*one, fast.eos_token_id] for one in ids["input_ids"]]}

    start = perf_counter()
    lines = load_dataset("json", data_files=text, split="train", cache_dir=f"{output}/cache")
    done = lines.map(tokenise, batched=True, num_proc=processes, remove_columns=["text"])
    done.to_parquet(f"{output}/0.parquet")
    return {"converting": perf_counter() - start}


def datatrove_convert(text: str, output: str, tokenizer: str, processes: int) -> dict[str, Any]:
    """Tokenize with datatrove's DocumentTokenizer, one task a process, to its own binary files."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    named = json.loads(Path(tokenizer, "tokenizer_config.json").read_text())["eos_token"]
    stage = DocumentTokenizer(
        output,
        f"{tokenizer}/tokenizer.json",
        eos_token=named,
        shuffle_documents=False,
        save_final_metadata=False,
        save_index=False,
    )
    start = perf_counter()
    LocalPipelineExecutor(
        pipeline=[JsonlReader(f"{text}.parts", glob_pattern="*.jsonl"), stage],
        tasks=processes,
        workers=processes,
        logging_dir=f"{output}/logs",
    ).run()
    return {"converting": perf_counter() - start}


def jllm_shuffle(data: str, output: str, processes: int) -> dict[str, Any]:
    """Shuffle a data set on disk with the command itself."""
    from jllm.shuffle_datasets import main

    command = ["-d", data, "-o", output, "-n", "8", "-c", "snappy", "--mem_gb", "0.5"]
    main([*command, "--cores", str(processes)])
    return {}


def datasets_shuffle(data: str, output: str, processes: int) -> dict[str, Any]:
    """Shuffle with `datasets`: an index, then `flatten_indices`, then parquet (always Snappy)."""
    from datasets import load_dataset

    files = sorted(str(path) for path in Path(data).glob("*.parquet"))
    rows = load_dataset("parquet", data_files=files, split="train", cache_dir=f"{output}/cache")
    mixed = rows.shuffle(seed=EPOCH_SEED).flatten_indices(num_proc=processes)
    mixed.to_parquet(f"{output}/0.parquet")
    return {}


def arrow_copy(data: str, output: str, processes: int) -> dict[str, Any]:
    """Only decode and encode every row group, in as many processes: the bound of any shuffle."""
    from multiprocessing import Process

    Path(output).mkdir()
    workers = [Process(target=_copy, args=(data, output, n, processes)) for n in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return {}


def _copy(data: str, output: str, number: int, processes: int) -> None:
    import pyarrow.parquet as pq

    files = [pq.ParquetFile(path) for path in sorted(Path(data).glob("*.parquet"))]
    groups = [(file, group) for file in files for group in range(file.num_row_groups)]
    options: dict[str, Any] = {"use_dictionary": False, "write_statistics": False}
    with pq.ParquetWriter(f"{output}/{number}.parquet", files[0].schema_arrow, **options) as writer:
        for file, group in groups[number::processes]:
            writer.write_table(file.read_row_group(group, use_threads=False))


def jllm_read(data: str, batch: int, **_: Any) -> dict[str, Any]:
    """Read one shuffled epoch with the lane reader, opened as training opens it."""
    from jllm.data.reading.dataset import open_dataset
    from jllm.data.reading.reader import LaneReader

    began, tokens, first = perf_counter(), 0, 0.0
    dataset = open_dataset(Path(data), lazy=True)
    with LaneReader(
        dataset, seed=EPOCH_SEED, global_batch_size=batch, lanes=range(batch)
    ) as reader:
        for step in range(reader.steps_per_epoch):
            tokens += reader.read(step).tokens.size
            if not step:
                first = perf_counter() - began
    return {"tokens": tokens, "first_batch": first, "reading": perf_counter() - began}


def mosaic_write(data: str, mosaic: str) -> dict[str, Any]:
    """Write the rows of a data set in mosaicml-streaming's own format."""
    from convert import columns
    from streaming import MDSWriter

    with MDSWriter(out=mosaic, columns={"input_ids": "ndarray:int32"}) as writer:
        for column in columns(Path(data)):
            for row in column:
                writer.write({"input_ids": row.values.to_numpy()})
    return {}


def mosaic_read(mosaic: str, batch: int, max_len: int, **_: Any) -> dict[str, Any]:
    """Read one shuffled epoch with mosaicml-streaming; rows become arrays [batch, max_len]."""
    from streaming import StreamingDataset

    began = perf_counter()
    rows = StreamingDataset(local=mosaic, shuffle=True, shuffle_seed=EPOCH_SEED, batch_size=batch)
    return stacked((row["input_ids"] for row in rows), batch, max_len, began)


def datasets_read(data: str, batch: int, max_len: int, **_: Any) -> dict[str, Any]:
    """Read one epoch with streaming `datasets`, shuffled in a buffer."""
    from datasets import load_dataset

    began = perf_counter()
    files = sorted(str(path) for path in Path(data).glob("*.parquet"))
    rows = load_dataset("parquet", data_files=files, split="train", streaming=True)
    rows = rows.shuffle(seed=EPOCH_SEED, buffer_size=1000).with_format("numpy")
    return stacked((row["input_ids"] for row in rows), batch, max_len, began)


def stacked(rows: Any, batch: int, max_len: int, began: float) -> dict[str, Any]:
    """Collect rows into batches, as a training loop would; count their positions."""
    waiting: list[np.ndarray] = []
    tokens, first = 0, None
    for row in rows:
        waiting.append(row)
        if len(waiting) == batch:
            tokens += np.stack(waiting)[:, : max_len - 1].size
            first = first or perf_counter() - began
            waiting.clear()
    return {"tokens": tokens, "first_batch": first}


WAYS: dict[str, Callable[..., dict[str, Any]]] = {
    way.__name__: way
    for way in (
        jllm_convert, jllm_command, datasets_convert, datatrove_convert, jllm_shuffle,
        datasets_shuffle, arrow_copy, jllm_read, mosaic_write, mosaic_read, datasets_read,
    )
}  # fmt: skip
IMPORTS = {
    "jllm": "jllm.data",
    "jllm_shuffle": "jllm.data.tools.shuffle.shuffle tyro rich.console",
    "jllm_read": "jllm.data.reading.reader",
    "arrow": "pyarrow.parquet",
    "datasets": "datasets",
    "datatrove": "datatrove",
    "mosaic": "streaming",
}


def measure(way: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run a way and return its figures."""
    for module in (IMPORTS.get(way) or IMPORTS[way.partition("_")[0]]).split():
        import_module(module)
    start = perf_counter()
    figures = WAYS[way](**arguments)
    seconds = perf_counter() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "seconds": seconds,
        "cpu_seconds": sum(one.ru_utime + one.ru_stime for one in used),
        # not our own ru_maxrss, which starts from that of the parent process
        "peak_bytes": max(resident_bytes(), used[1].ru_maxrss * 1024),
        **figures,
    }


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(measure(sys.argv[1], json.loads(sys.argv[2]))) + "\n")
