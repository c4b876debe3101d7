"""Tiny models and random data for tests of whole runs, and ways to run them in one process or
several."""

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jllm.data.reading import order
from jllm.data.reading.mixture import open_mixture
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.training import command
from jllm.parallel.training.metrics import MetricsFile
from spawn_helpers import launch

MAX_LEN = 17
VOCABULARY = 61


def write_model(folder: Path, *, tied: bool = True, layers: int = 3) -> Path:
    """Makes a random Llama with Transformers and saves it as a Hugging Face directory."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.2,
        tie_word_embeddings=tied,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_data(
    folder: Path, rows: int, *, seed: int = 0, row_group_size: int = 5, full: bool = True
) -> Path:
    """Writes packed rows with labels whose documents have random lengths.

    full: or else the rows are cut to a random length, and whatever reads them fills them up.
    """
    random = np.random.default_rng(seed)
    columns: dict[str, list[list[int]]] = {"input_ids": [], "cu_seqlens": [], "labels": []}
    for _ in range(rows):
        ids = random.integers(1, VOCABULARY, MAX_LEN)
        cuts = sorted(set(random.integers(2, MAX_LEN - 2, 2).tolist()))
        cuts = [c for i, c in enumerate(cuts) if i == 0 or c - cuts[i - 1] > 1]
        labels = np.where(random.random(MAX_LEN) < 0.7, ids, -100)
        labels[[0, *cuts]] = -100
        length = MAX_LEN if full else int(random.integers(5, MAX_LEN + 1))
        columns["input_ids"].append(ids[:length].tolist())
        columns["cu_seqlens"].append([0, *(c for c in cuts if c < length - 1), length - 1])
        columns["labels"].append(labels[:length].tolist())
    folder.mkdir(parents=True)
    table = pa.table({n: pa.array(v, pa.list_(pa.int32())) for n, v in columns.items()})
    pq.write_table(table, folder / "part-0.parquet", row_group_size=row_group_size)
    info = {"num_samples": rows, "max_len": MAX_LEN, "max_num_blocks": 4, "fields": list(columns)}
    (folder / "data_info.json").write_text(json.dumps(info))
    return folder


def untrain(folder: Path, config: TrainConfig, *, steps: list[int]) -> int:
    """Takes every target from the rows that a run reads at `steps`, counted from 1; gives the
    first."""
    data = open_mixture(str(folder))
    starts = np.concatenate(([0], np.cumsum(data.parts[0].group_rows)))
    path = folder / "part-0.parquet"
    group_size = int(data.parts[0].group_rows[0])
    columns = pq.read_table(path).to_pydict()
    for step in steps:
        size = config.global_batch_size
        rows = data.parts[0].group_rows
        groups, places = order.locate(rows, config.seed, size, step - 1, range(size))
        for row in (starts[groups] + places).tolist():
            columns["labels"][row] = [-100] * len(columns["labels"][row])
    table = pa.table({n: pa.array(v, pa.list_(pa.int32())) for n, v in columns.items()})
    pq.write_table(table, path, row_group_size=group_size)
    return steps[0]


def metrics(folder: Path) -> list[dict]:
    """Reads the metrics of a run."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    """Training losses of a run, step by step, to the last bit."""
    return [m["loss"] for m in metrics(folder) if "loss" in m]


def train(world: int, config: TrainConfig) -> None:
    """Runs a configuration on `world` processes."""
    launch(world, command.train, config)


def checkpoint_bytes(folder: Path, step: int) -> dict[str, bytes]:
    """Reads the weights and the optimizer's state that a run saved."""
    where = folder / str(step)
    files = sorted(where.glob("*.safetensors")) + sorted(where.glob("trainer/*.safetensors"))
    assert len(files) == 3, files
    return {str(f.relative_to(where)): f.read_bytes() for f in files}


def changed(config: TrainConfig, name: str, **changes: object) -> TrainConfig:
    """Gives a configuration other values and a checkpoint folder beside the old one."""
    folder = str(Path(config.checkpoint).with_name(name))
    return TrainConfig(**(vars(config) | {"checkpoint": folder} | changes))


def alone(config: TrainConfig) -> None:
    """Runs a configuration in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
            patch.delenv(name, raising=False)
        assert command.train(config)


def run_in_child(config: TrainConfig, prepare: Callable[[], None]) -> int:
    """Runs a configuration in a forked child that first calls `prepare`; its exit code, or −n when
    signal n ended it."""
    child = os.fork()
    if child == 0:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 2)
        try:
            prepare()
            os._exit(0 if command.train(config) else command.STOPPED)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def after_step(step: int, then: Callable[[], None]) -> None:
    """Makes this process call `then` once it has written the metrics of a training step."""
    write = MetricsFile.write

    def write_then(file: MetricsFile, values: Mapping[str, Any]) -> None:
        write(file, values)
        if values["step"] == step and "loss" in values:
            then()

    MetricsFile.write = write_then  # type: ignore[method-assign]


def run_and_signal(config: TrainConfig, step: int, sent: int = signal.SIGKILL) -> int:
    """Runs a configuration in a forked child that sends itself a signal after a step; its exit
    code as `run_in_child` gives it."""
    return run_in_child(config, lambda: after_step(step, lambda: os.kill(os.getpid(), sent)))
