"""Adapters of fused tensors are those of a naive function of W + scale · B · A; fresh ones are a
function of name and seed."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from jllm.models.config.units import unit_count
from jllm.models.lora.initialize import fresh, initialize_adapter_
from jllm.models.lora.layers import attach_
from jllm.models.lora.settings import adapter_names
from jllm.models.lora.table import adapter_table, trained_parameters
from jllm.models.weights.slices import assert_cover, shapes
from lora_helpers import adapted_stage, adapter_tensors, lora_of
from own_code_helpers import OWN_CODE, write_model, write_own_code
from tiny_model_helpers import (
    loaded_stage,
    one_document,
    random_targets,
    random_tokens,
    reference_model,
    relative_error,
    saved,
)

BOUND = 1e-5
SEEDS = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("qwen", ("c_attn", "attn.c_proj", "w1")),
        ("internlm2", SEEDS),
        ("internlm2-bias-linear", ("wqkv", "w3")),
        ("baichuan-7b", ("W_pack",)),
        ("baichuan2-13b", SEEDS),
    ],
)
def test_loss_and_every_gradient_are_those_of_the_naive_function(
    name: str, targets: tuple[str, ...], tmp_path: Path
) -> None:
    tensors = write_own_code(name, tmp_path)
    values, naive = OWN_CODE[name]
    stage, lora = adapted_stage(tmp_path, targets, alpha=6.0)
    tokens, wanted = random_tokens(12), random_targets(12)
    loss = stage(tokens, one_document(12), wanted)
    loss.backward()

    held = adapter_tensors(stage, lora)
    leaves = {n: tensor.double().requires_grad_() for n, tensor in held.items()}
    wide = {n: tensor.double() for n, tensor in tensors.items()}
    for tensor in lora.tensors:
        a, b = (leaves[n] for n in adapter_names(tensor))
        wide[tensor] = wide[tensor] + 6.0 / 4 * b @ a
    logits = naive(wide, values, tokens, training=True)
    reference = functional.cross_entropy(logits, wanted, ignore_index=-100, reduction="sum")
    reference.backward()
    assert abs(loss.item() - reference.item()) <= BOUND * reference.item()
    ours = adapter_tensors(stage, lora, gradients=True)
    for tensor, leaf in leaves.items():
        assert leaf.grad is not None
        assert relative_error(ours[tensor], leaf.grad) <= BOUND, tensor


@pytest.mark.parametrize("name", ["llama", "internlm2", "qwen2-moe"])
def test_a_cut_and_recomputation_change_no_bit(name: str, tmp_path: Path) -> None:
    config = write_model(name, tmp_path)
    lora = lora_of(config, SEEDS)
    tokens, wanted, documents = random_tokens(20), random_targets(20), one_document(20)
    results = []
    for cuts, interval in (((0, 8), 0), ((0, 3, 8), 1)):
        x, found = tokens, {}
        stages = []
        for start, stop in zip(cuts, cuts[1:], strict=False):
            stage = loaded_stage(tmp_path, range(start, stop), recompute_interval=interval)
            attach_(stage, lora, freeze=True)
            initialize_adapter_(stage, lora, seed=5)
            stages.append(stage)
        for stage in stages[:-1]:
            x = stage(x, documents)
        stages[-1](x, documents, wanted).backward()
        for stage in stages:
            found |= adapter_tensors(stage, lora, gradients=True)
            found |= {f"{n} itself": v for n, v in adapter_tensors(stage, lora).items()}
        results.append(found)
    whole, cut = results
    assert whole.keys() == cut.keys()
    assert all(torch.equal(cut[n], values) for n, values in whole.items())


def test_a_fresh_adapter_changes_no_logit(tmp_path: Path) -> None:
    config = saved(reference_model("qwen3-moe"), tmp_path)
    plain, stage = loaded_stage(tmp_path), loaded_stage(tmp_path)
    lora = lora_of(config, SEEDS)
    attach_(stage, lora, freeze=False)
    initialize_adapter_(stage, lora, seed=1)
    tokens = random_tokens(9)
    with torch.no_grad():
        ours = stage.logits(tokens, one_document(9))
        assert torch.equal(ours, plain.logits(tokens, one_document(9)))
    assert all(parameter.requires_grad for parameter in stage.parameters())


def test_fresh_numbers_depend_on_name_and_seed_and_fill_their_range() -> None:
    a, b = adapter_names("model.layers.0.self_attn.q_proj.weight")
    values = fresh(a, (16, 400), 1)
    assert torch.equal(values, fresh(a, (16, 400), 1))
    assert not torch.equal(values, fresh(a, (16, 400), 2))
    assert not torch.equal(values, fresh(a.replace(".0.", ".1."), (16, 400), 1))
    assert 0.049 < values.abs().max() <= 0.05  # 1 / √400
    assert abs(values.std() - 0.05 / 3**0.5) < 1e-3
    assert not fresh(b, (400, 16), 1).any()


@pytest.mark.parametrize("name", ["llama", "qwen", "internlm2", "qwen2-moe"])
def test_the_slices_of_all_stages_hold_the_adapter_once(name: str, tmp_path: Path) -> None:
    config = write_model(name, tmp_path)
    lora = lora_of(config, SEEDS)
    whole = adapter_table(config, range(unit_count(config)), lora)
    parts = (adapter_table(config, part, lora) for part in (range(0, 4), range(4, 8)))
    assert tuple(piece for part in parts for piece in part) == whole
    assert_cover(whole, shapes(whole))
    assert set(shapes(whole)) == {n for tensor in lora.tensors for n in adapter_names(tensor)}
    stage = loaded_stage(tmp_path)
    attach_(stage, lora, freeze=True)
    trained = [parameter.numel() for parameter in stage.parameters() if parameter.requires_grad]
    assert sum(trained) == trained_parameters(config, lora)
