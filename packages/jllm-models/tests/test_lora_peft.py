"""Adapters compute what peft's do, forward and backward, and peft opens the files."""

import re
import warnings
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import Tensor

from lora_helpers import adapted_stage, adapter_tensors, write_adapter
from tiny_model_helpers import (
    one_document,
    random_targets,
    random_tokens,
    reference_loss,
    reference_model,
    relative_error,
    saved,
)

BOUND = 1e-5
SEEDS = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
CASES: dict[str, tuple[str, tuple[str, ...], dict[str, object]]] = {
    "llama": ("llama", SEEDS, {}),
    "llama-tied": ("llama-tied", ("all-linear",), {"rank": 3}),
    "llama-some": ("llama", ("q_proj", "v_proj", "up_proj"), {}),
    "llama-rslora": ("llama-bias", ("k_proj", "o_proj"), {"rslora": True}),
    "llama-one-layer": ("llama", ("model.layers.1.self_attn.q_proj",), {}),
    "qwen2-bias": ("qwen2", SEEDS, {}),
    "qwen3": ("qwen3-tied-bias", SEEDS, {}),
    "qwen2-moe-shared": ("qwen2-moe", ("all-linear",), {}),
    "qwen2-moe-attention": ("qwen2-moe", ("qkv_proj", "o_proj"), {}),
    "qwen3-moe": ("qwen3-moe", SEEDS, {"rank": 2}),
    "qwen3-moe-rslora": ("qwen3-moe", SEEDS, {"rslora": True}),
    "deepseek-v2-lite": ("deepseek-v2-lite", SEEDS, {}),
    "deepseek-v3": ("deepseek-v3", SEEDS, {}),
    "deepseek-v3-latent": ("deepseek-v3", ("kv_b_proj", "q_a_proj"), {}),
    "qwen3-moe-dense": ("qwen3-moe-dense-window", SEEDS, {}),
}


def opened_by_peft(model: torch.nn.Module, directory: Path) -> PeftModel:
    """Open an adapter with peft; any tensor it does not find or know is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Of experts' patterns peft says so although it has used them.
        warnings.filterwarnings("ignore", message="The following .*_pattern keys did not match")
        return PeftModel.from_pretrained(model, directory, is_trainable=True)


def their_gradients(model: PeftModel, rank: int) -> dict[str, Tensor]:
    """Return peft's gradients by the names in its files; of experts one by one."""
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        name = name.replace(".default", "")
        match = re.fullmatch(r"(.*\.experts)(\.base_layer)?\.(lora_[AB])\.weight", name)
        if not match:
            found[name] = parameter.grad
            continue
        stack, fused, kind = match.groups()
        parts = ("gate_proj", "up_proj") if fused else ("down_proj",)
        found |= _of_experts(stack, parts, kind, parameter.grad, rank)
    return found


def _of_experts(
    stack: str, parts: tuple[str, ...], kind: str, gradient: Tensor, rank: int
) -> dict[str, Tensor]:
    """Take one stacked gradient of peft apart: its ranks are gate's, then up's."""
    width = rank * len(parts)
    count = (gradient.shape[0] if kind == "lora_A" else gradient.shape[1]) // width
    found = {}
    for expert in range(count):
        if kind == "lora_A":
            mine = gradient[expert * width : (expert + 1) * width].split(rank)
        else:
            columns = gradient[:, expert::count]
            rows = columns.shape[0] // len(parts)
            mine = tuple(
                columns[number * rows : (number + 1) * rows, number * rank : (number + 1) * rank]
                for number in range(len(parts))
            )
        for part, values in zip(parts, mine, strict=True):
            found[f"{stack}.{expert}.{part}.{kind}.weight"] = values
    return found


@pytest.mark.parametrize("case", CASES)
def test_logits_loss_and_every_gradient_are_those_of_peft(case: str, tmp_path: Path) -> None:
    name, targets, options = CASES[case]
    model = reference_model(name)
    saved(model, tmp_path / "base")
    stage, lora = adapted_stage(tmp_path / "base", targets, **options)
    adapter = write_adapter(stage, lora, tmp_path / "base", tmp_path / "adapter")
    theirs = opened_by_peft(model, adapter)

    tokens, wanted = random_tokens(20), random_targets(20)
    with torch.no_grad():
        logits = theirs(input_ids=tokens[None], use_cache=False).logits[0]
        assert relative_error(stage.logits(tokens, one_document(20)), logits) < BOUND
    loss = stage(tokens, one_document(20), wanted)
    loss.backward()
    reference = reference_loss(theirs, tokens, wanted)
    reference.backward()
    torch.testing.assert_close(loss, reference, rtol=BOUND, atol=0)

    ours = adapter_tensors(stage, lora, gradients=True)
    expected = their_gradients(theirs, lora.rank)
    assert ours.keys() == expected.keys()
    for tensor, gradient in expected.items():
        assert relative_error(ours[tensor], gradient) < BOUND, tensor
    frozen = [n for n, p in stage.named_parameters() if ".lora_" not in n and p.grad is not None]
    assert not frozen
