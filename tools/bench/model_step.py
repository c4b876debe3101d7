"""Compare one forward and backward with Transformers' on the same examples, weights and threads.

    OMP_NUM_THREADS=2 python tools/bench/model_step.py --tokens 2048 --rounds 7

Three ways to compute the same step of SmolLM2-135M (random weights) or of --model DIR:
  jllm          flat tokens with document bounds
  padding-free  Transformers, one row, `position_ids` that restart for each document, sdpa attention
                (on a CPU this uses a block-diagonal mask over the whole square)
  padded        Transformers, a row for each document, padded to the longest, with attention_mask
Their losses must agree before anything is timed. Every round runs all three in a new random order.
Prints medians, and the median over rounds of the ratio within a round.
"""

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from jllm.models.config.units import unit_count
from jllm.models.costs.flops import flops_per_token
from jllm.models.decoder.stage import Stage
from jllm.models.families import decoder_config
from jllm.models.layers.documents import Documents
from jllm.models.weights.table import weight_table

SMOLLM2 = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "rope_theta": 100000.0,
    "tie_word_embeddings": True,
    "architectures": ["LlamaForCausalLM"],
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the benchmark."""

    model: Path | None = None
    """Directory with a config.json; its weights are not read. Default: SmolLM2-135M."""
    layers: int | None = None
    """Use only this many layers."""
    tokens: int = 2048
    """Tokens of the step."""
    median_length: float = 200.0
    """Median of the log-normal document lengths, in tokens."""
    sigma: float = 0.8
    """Spread of the logarithm of the lengths."""
    trained: float = 1.0
    """Share of each document, at its end, that is trained on: 1 as in pre-training."""
    dtype: str = "float32"
    """Element type of the weights: float32 or bfloat16."""
    rounds: int = 5
    """Runs of each way, after one warm-up."""
    seed: int = 0
    """Seed of lengths, tokens, weights and order."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """The documents, the same for all ways."""

    tokens: Tensor
    """int64 [T]."""
    labels: Tensor
    """int64 [T] aligned with the tokens, −100 where not trained, as Transformers expects."""
    bounds: list[int]
    """Bounds of the documents."""


def main(options: Options) -> None:
    """Measure and print a table and one JSON line."""
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    reference = transformers_model(options)
    examples = make_examples(options, reference.config.vocab_size)
    ways = {
        "jllm": jllm_way(reference, examples),
        "padding-free": padding_free_way(reference, examples),
        "padded": padded_way(reference, examples),
    }
    losses = {name: way() for name, way in ways.items()}
    bound = 1e-5 if options.dtype == "float32" else 1e-2
    for name, loss in losses.items():
        if abs(loss - losses["jllm"]) > bound * loss:
            raise ValueError(f"losses differ, so the work does: {losses} ({name})")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name in random.sample(sorted(ways), len(ways)):
            start = time.perf_counter()
            ways[name]()
            seconds[name].append(time.perf_counter() - start)
    report(options, examples, seconds, reference)


def transformers_model(options: Options) -> PreTrainedModel:
    """Make the Transformers model with random weights."""
    config = AutoConfig.from_pretrained(options.model) if options.model else LlamaConfig(**SMOLLM2)
    if options.layers:
        config.num_hidden_layers = options.layers
    dtype = getattr(torch, options.dtype)
    return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")


def make_examples(options: Options, vocabulary: int) -> Examples:
    """Draw documents until there are enough tokens; the last one is cut to fit."""
    bounds = [0]
    while bounds[-1] < options.tokens:
        length = max(int(options.median_length * random.lognormvariate(0, options.sigma)), 8)
        bounds.append(min(bounds[-1] + length, options.tokens))
    tokens = torch.randint(vocabulary, (options.tokens,))
    labels = tokens.clone()
    for start, stop in zip(bounds, bounds[1:], strict=False):
        first = max(start + 1, stop - round(options.trained * (stop - start)))
        labels[start:first] = -100
    return Examples(tokens=tokens, labels=labels, bounds=bounds)


def jllm_way(reference: PreTrainedModel, examples: Examples) -> Callable[[], float]:
    """Return the step of our stage with the reference's weights."""
    config = decoder_config(reference.config.to_dict(), "model")
    stage = Stage(config, range(unit_count(config)), dtype=reference.dtype)
    theirs = tensors_in_files(reference)
    held = dict(stage.named_parameters()) | dict(stage.named_buffers())
    for piece in weight_table(config, stage.unit_range, for_saving=True):
        ours = held[piece.parameter].data
        ours[piece.here_index] = theirs[piece.tensor][piece.there_index]
    documents = Documents.from_bounds(examples.bounds)
    targets = torch.cat([examples.labels[1:], torch.tensor([-100])])
    trained = int((targets != -100).sum())

    def step() -> float:
        stage.zero_grad()
        loss = stage(examples.tokens, documents, targets) / trained
        loss.backward()
        return loss.item()

    return step


def tensors_in_files(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return the model's tensors by their names in files, where experts are separate."""
    found = {}
    for name, tensor in model.state_dict().items():
        before, fused, after = name.partition(".experts.")
        if not fused:
            found[name] = tensor
            continue
        for number, weight in enumerate(tensor):
            parts = weight.chunk(2) if after == "gate_up_proj" else (weight,)
            names = ("gate_proj", "up_proj") if len(parts) == 2 else (after,)
            for part, projection in zip(parts, names, strict=True):
                found[f"{before}.experts.{number}.{projection}.weight"] = part
    return found


def padding_free_way(model: PreTrainedModel, examples: Examples) -> Callable[[], float]:
    """Run Transformers on one row whose positions restart for each document."""
    positions = Documents.from_bounds(examples.bounds).positions
    batch = {
        "input_ids": examples.tokens[None],
        "position_ids": positions[None],
        "labels": examples.labels[None],
    }
    return lambda: transformers_step(model, batch)


def padded_way(model: PreTrainedModel, examples: Examples) -> Callable[[], float]:
    """Run Transformers on a padded row for each document."""
    spans = list(zip(examples.bounds, examples.bounds[1:], strict=False))
    shape = (len(spans), max(stop - start for start, stop in spans))
    batch = {
        "input_ids": torch.zeros(shape, dtype=torch.int64),
        "attention_mask": torch.zeros(shape, dtype=torch.int64),
        "labels": torch.full(shape, -100),
    }
    for row, (start, stop) in enumerate(spans):
        batch["input_ids"][row, : stop - start] = examples.tokens[start:stop]
        batch["attention_mask"][row, : stop - start] = 1
        batch["labels"][row, : stop - start] = examples.labels[start:stop]
    return lambda: transformers_step(model, batch)


def transformers_step(model: PreTrainedModel, batch: dict[str, Tensor]) -> float:
    """Run forward and backward with Transformers' own loss."""
    model.zero_grad()
    loss = model(**batch, use_cache=False).loss
    loss.backward()
    return loss.item()


def report(
    options: Options,
    examples: Examples,
    seconds: dict[str, list[float]],
    reference: PreTrainedModel,
) -> None:
    """Print medians and ratios."""
    lengths = torch.tensor(examples.bounds).diff()
    mean_length = float((lengths * lengths).sum() / lengths.sum())
    config = decoder_config(reference.config.to_dict(), "model")
    flops = flops_per_token(config, mean_length) * options.tokens
    title = f"{options.tokens} tokens, {len(lengths)} documents of at most {int(lengths.max())}"
    table = Table("way", "median s", "tokens/s", "GFLOP/s", "time / jllm's", title=title)
    ratios = {}
    for name, times in seconds.items():
        pairs = zip(times, seconds["jllm"], strict=True)
        ratios[name] = median(theirs / ours for theirs, ours in pairs)
        middle = median(times)
        table.add_row(
            name,
            f"{middle:.3f}",
            f"{options.tokens / middle:.0f}",
            f"{flops / middle / 1e9:.0f}",
            f"{ratios[name]:.2f}",
        )
    console = Console()
    console.print(table)
    medians = {name: round(median(times), 4) for name, times in seconds.items()}
    line = {"threads": torch.get_num_threads(), "seconds": medians, "ratios": ratios}
    console.print(json.dumps(line), soft_wrap=True)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
