"""Compare forward and backward of each family with Transformers' eager implementation of it.

    OMP_NUM_THREADS=2 python tools/bench/models.py --rounds 5
    OMP_NUM_THREADS=2 python tools/bench/models.py --families qwen3-moe-64 --documents 1
    python tools/bench/models.py --loss-memory         # the loss part at vocabulary 152 064

Models of a few layers with random fp32 weights, the same in both; the same documents in one row,
which Transformers tells apart by `position_ids`. Their losses must agree before anything is timed.
Every round runs both in a random order. Prints the median over rounds of time(Transformers) ÷
time(jllm). Transformers runs "eager": attention over the square with a mask, experts in a loop.
Families that Transformers lacks (Qwen, Baichuan, InternLM2) have no counterpart.
"""

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import tyro
from model_step import Examples, jllm_way, padding_free_way
from rich.console import Console
from rich.table import Table
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from jllm.models.config.decoder_config import LOGITS_PER_CHUNK
from jllm.models.decoder.loss import linear_cross_entropy

SIZES = {
    "vocab_size": 32000,
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "pad_token_id": None,
}
EXPERTS = {"num_experts": 64, "num_experts_per_tok": 8, "moe_intermediate_size": 192}
LATENT = {
    "kv_lora_rank": 128,
    "qk_nope_head_dim": 64,
    "qk_rope_head_dim": 32,
    "v_head_dim": 64,
    "head_dim": 32,
    "num_key_value_heads": 8,
    "moe_intermediate_size": 192,
    "n_routed_experts": 64,
    "num_experts_per_tok": 8,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "mistral": ("mistral", {"sliding_window": 512}),
    "olmo2": ("olmo2", {}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {}),
    "qwen2-moe-64": ("qwen2_moe", {**EXPERTS, "shared_expert_intermediate_size": 384}),
    "qwen3-moe-64": ("qwen3_moe", {**EXPERTS, "norm_topk_prob": True}),
    "deepseek-v2": (
        "deepseek_v2",
        {**LATENT, "q_lora_rank": None, "topk_method": "greedy", "n_group": 1, "topk_group": 1},
    ),
    "deepseek-v3": (
        "deepseek_v3",
        {
            **LATENT,
            "q_lora_rank": 256,
            "n_group": 8,
            "topk_group": 4,
            "norm_topk_prob": True,
            "num_nextn_predict_layers": 0,
        },
    ),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the benchmark."""

    families: tuple[str, ...] = tuple(FAMILIES)
    """Families to compare."""
    tokens: int = 1024
    """Tokens of a step."""
    documents: int = 1
    """Number of documents, of equal length, in the step."""
    rounds: int = 5
    """Runs of each, after one warm-up."""
    seed: int = 0
    """Seed of tokens, weights and order."""
    loss_memory: bool = False
    """Measure the memory of the loss part instead."""


def main(options: Options) -> None:
    """Measure and print a table and one JSON line."""
    if unknown := sorted({*options.families} - FAMILIES.keys()):
        raise ValueError(f"--families {unknown[0]}: expected some of {', '.join(FAMILIES)}")
    if options.loss_memory:
        Console().print(loss_memory(options.tokens))
        return
    random.seed(options.seed)
    title = f"{options.tokens} tokens, {options.documents} documents, fp32"
    table = Table("family", "jllm s", "Transformers s", "ratio", "of the pairs", title=title)
    ratios = {}
    for family in options.families:
        ours, theirs = measure(reference_model(family, options.seed), options)
        pairs = sorted(b / a for a, b in zip(ours, theirs, strict=True))
        ratios[family] = round(median(pairs), 3)
        spread = f"{pairs[0]:.2f}–{pairs[-1]:.2f}"
        seconds = [f"{median(times):.3f}" for times in (ours, theirs)]
        table.add_row(family, *seconds, f"{ratios[family]:.2f}", spread)
    console = Console()
    console.print(table)
    line = {"threads": torch.get_num_threads(), "ratios": ratios}
    console.print(json.dumps(line), soft_wrap=True)


def reference_model(family: str, seed: int) -> PreTrainedModel:
    """Make the Transformers model of a family with random weights."""
    torch.manual_seed(seed)
    model_type, changes = FAMILIES[family]
    config = AutoConfig.for_model(model_type, **{**SIZES, **changes})
    config.architectures = [AutoModelForCausalLM._model_mapping[type(config)].__name__]
    plain = {"attn_implementation": "eager", "experts_implementation": "eager"}
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, **plain)


def measure(reference: PreTrainedModel, options: Options) -> tuple[list[float], list[float]]:
    """Return the seconds of each round of jllm and of Transformers."""
    tokens = torch.randint(reference.config.vocab_size, (options.tokens,))
    count = options.documents
    bounds = [options.tokens * number // count for number in range(count + 1)]
    labels = tokens.clone()
    labels[bounds[:-1]] = -100
    examples = Examples(tokens=tokens, labels=labels, bounds=bounds)
    ways = [jllm_way(reference, examples), padding_free_way(reference, examples)]
    ours, theirs = (way() for way in ways)
    if abs(ours - theirs) > 1e-5 * theirs:
        raise ValueError(f"losses differ, so the work does: {ours} and {theirs}")
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(options.rounds):
        for number in random.sample((0, 1), 2):
            start = time.perf_counter()
            ways[number]()
            seconds[number].append(time.perf_counter() - start)
    return seconds


def loss_memory(tokens: int, hidden: int = 512, vocabulary: int = 152_064) -> str:
    """Return a line on the loss's peak memory, beyond its results (the two gradients)."""
    weight = (torch.randn(vocabulary, hidden) / hidden**0.5).requires_grad_()
    x = torch.randn(tokens, hidden, requires_grad=True)
    targets = torch.randint(vocabulary, (tokens,))
    chunk = LOGITS_PER_CHUNK // vocabulary
    linear_cross_entropy(x[:2], weight[:9], targets[:2] % 9, 1).backward()  # libraries' buffers
    weight.grad = x.grad = None
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak (Linux)
    before = peak_memory()
    linear_cross_entropy(x, weight, targets, chunk).backward()
    grown = peak_memory() - before
    beyond, whole = grown - weight.nbytes - x.nbytes, tokens * vocabulary * 4
    mib = [f"{size / 2**20:.0f} MiB" for size in (beyond, whole)]
    return f"{tokens} tokens: {mib[0]}, whole logits {mib[1]}: {whole / beyond:.1f} ×"


def peak_memory() -> int:
    """Return the peak memory of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
