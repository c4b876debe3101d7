"""Compare a training step of jllm on one process with a bare PyTorch loop over the same modules.

    OMP_NUM_THREADS=2 python tools/bench/train_step.py --rounds 7

Both train SmolLM2-135M's shape from the same random weights on the same rows: jllm with its reader,
feed, pipeline executor, sharded optimizer and global norm; the loop with tensors already in memory,
`clip_grad_norm_` and `torch.optim.AdamW`. Their losses must agree before anything is timed. Each
round runs both. Prints medians, and the median of the ratio within a round.
"""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import tyro
from rich.console import Console
from torch import nn

from jllm.data.reading.dataset import open_dataset
from jllm.data.reading.reader import LaneReader
from jllm.models.config.units import unit_count
from jllm.models.decoder.stage import Stage
from jllm.models.layers.documents import Documents
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.distributed.mesh import Mesh
from jllm.parallel.feed.feed import join_bounds
from jllm.parallel.training.events import Event
from jllm.parallel.training.inputs import Inputs, read_inputs
from jllm.parallel.training.saver import load_or_initialize
from jllm.parallel.training.trainer import Trainer

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the benchmark."""

    layers: int = 30
    """Decoder layers."""
    length: int = 512
    """Positions in a row."""
    rows: int = 4
    """Rows of a step, each a micro-batch."""
    documents: int = 4
    """Documents in a row."""
    rounds: int = 5
    """Steps of each, after one warm-up step."""


def main(options: Options) -> None:
    """Measure and print one line for people and one of JSON."""
    with tempfile.TemporaryDirectory() as folder:
        config = prepare(Path(folder), options)
        inputs = read_inputs(config, 1)
        ours, theirs = jllm_steps(config, inputs, options), bare_steps(config, inputs)
        for step in range(2):  # the second follows an update
            a, b = ours(step), theirs(step)
            if abs(a - b) > 1e-5 * abs(b):
                raise ValueError(f"step {step}: the losses {a} and {b} differ, so the work does")
        times: tuple[list[float], list[float]] = ([], [])
        for step in range(2, 2 + options.rounds):
            for taken, way in zip(times, (ours, theirs), strict=True):
                start = time.perf_counter()
                way(step)
                taken.append(time.perf_counter() - start)
    ratio = median(theirs / ours for ours, theirs in zip(*times, strict=True))
    console = Console()
    tokens = options.rows * options.length
    console.print(
        f"jllm {median(times[0]):.3f} s a step of {tokens} tokens, "
        f"bare loop {median(times[1]):.3f} s: {ratio:.3f} × its speed"
    )
    values = {"jllm_s": times[0], "bare_s": times[1], "speed": ratio}
    console.print(json.dumps(values | {"threads": torch.get_num_threads()}), soft_wrap=True)


def prepare(folder: Path, options: Options) -> TrainConfig:
    """Write a config and random rows."""
    (folder / "model").mkdir()
    values = LLAMA | {"num_hidden_layers": options.layers}
    (folder / "model" / "config.json").write_text(json.dumps(values))
    random, count = np.random.default_rng(0), options.rows * (options.rounds + 2)
    ids = random.integers(0, LLAMA["vocab_size"], (count, options.length + 1), dtype=np.int32)
    bounds = np.linspace(0, options.length, options.documents + 1).astype(np.int32).tolist()
    (folder / "data").mkdir()
    lists = pa.list_(pa.int32())
    columns = {"input_ids": ids.tolist(), "cu_seqlens": [bounds] * count}
    table = pa.table({name: pa.array(column, lists) for name, column in columns.items()})
    pq.write_table(table, folder / "data" / "rows.parquet", row_group_size=16)
    info = {"num_samples": count, "max_len": options.length + 1, "max_num_blocks": 9}
    (folder / "data" / "data_info.json").write_text(json.dumps(info | {"fields": list(columns)}))
    return TrainConfig(
        model=str(folder / "model"),
        train_data=str(folder / "data"),
        init=True,
        global_batch_size=options.rows,
        lr_scheduler_type="constant",
        no_save=True,
    )


def new_stage(config: TrainConfig, inputs: Inputs) -> Stage:
    """Return the whole model with the weights of the seed."""
    stage = Stage(inputs.model, range(unit_count(inputs.model)))
    load_or_initialize(stage, inputs.model, None, config.seed)
    return stage


def jllm_steps(config: TrainConfig, inputs: Inputs, options: Options) -> Callable[[int], float]:
    """Return the step function of the trainer itself."""
    run = Trainer(config, inputs, Mesh(), new_stage(config, inputs), torch.device("cpu"))
    run.follow([Event("train", step) for step in range(2 + options.rounds)])
    return lambda step: run.train_step(step).loss


def bare_steps(config: TrainConfig, inputs: Inputs) -> Callable[[int], float]:
    """Return the step function of a plain PyTorch loop."""
    stage, rows = new_stage(config, inputs), config.global_batch_size
    head = f"units.{unit_count(inputs.model) - 1}.weight"
    shared = dict(stage.named_parameters())[head]
    named = [(n, p) for n, p in stage.named_parameters() if n != head]
    parameters = [p for _, p in named]
    betas = (config.adam_beta1, config.adam_beta2)
    adam = torch.optim.AdamW(
        parameters, lr=config.learning_rate, betas=betas, weight_decay=0.0, fused=True
    )
    embedding = dict(named)["units.0.weight"]
    reader = LaneReader(
        open_dataset(Path(config.train_data)),
        seed=config.seed,
        global_batch_size=rows,
        lanes=range(rows),
    )

    def step(number: int) -> float:
        batch = ready[number]
        trained, loss = int((batch.targets != -100).sum()), 0.0
        for row in range(rows):
            documents = Documents.from_bounds(join_bounds(batch.bounds[row : row + 1], length))
            tokens, targets = (
                torch.from_numpy(x[row]).long() for x in (batch.tokens, batch.targets)
            )
            part = stage(tokens, documents, targets) / trained
            part.backward()
            loss += part.item()
        assert embedding.grad is not None and shared.grad is not None
        embedding.grad += shared.grad  # tied
        shared.grad = None
        nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        adam.step()
        adam.zero_grad()
        return loss

    ready = [reader.read(n) for n in range(inputs.total_steps)]
    length = inputs.shapes["train"].length
    return step


if __name__ == "__main__":
    main(tyro.cli(Options))
