"""Module names are found in the weight table; one that matches nothing is an error."""

from pathlib import Path

import pytest

from jllm.models.lora.targets import adaptable, check_tensors, resolve
from lora_helpers import lora_of
from own_code_helpers import write_model

SEEDS = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")


def leaves(tensors: frozenset[str]) -> set[str]:
    return {tensor.removesuffix(".weight").rpartition(".")[2] for tensor in tensors}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("llama", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
        ("qwen", {"c_attn", "c_proj", "w1", "w2"}),
        ("baichuan-7b", {"W_pack", "o_proj", "gate_proj", "up_proj", "down_proj"}),
        (
            "deepseek-v3",
            {"q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"}
            | {"gate_proj", "up_proj", "down_proj"},
        ),
        ("internlm2", {"wqkv", "wo", "w1", "w2", "w3"}),
    ],
)
def test_the_fused_names_stand_for_all_matrices_of_every_family(
    model: str, expected: set[str], tmp_path: Path
) -> None:
    config = write_model(model, tmp_path)
    assert leaves(resolve(config, SEEDS)) == expected
    assert resolve(config, SEEDS) == resolve(config, ["all-linear"]) == set(adaptable(config))


@pytest.mark.parametrize(
    ("model", "name", "count"),
    [
        ("llama", "q_proj", 3),
        ("llama", "qkv_proj", 9),
        ("llama", "model.layers.1.mlp.up_proj", 1),
        ("qwen", "c_attn", 3),
        ("qwen", "c_proj", 6),
        ("qwen", "attn.c_proj", 3),
        ("baichuan-7b", "W_pack", 3),
        ("internlm2", "wqkv", 3),
        ("internlm2", "qkv_proj", 3),
        ("qwen2-moe", "shared_expert.gate_proj", 3),
        ("qwen3-moe", "qkv_proj", 9),
    ],
)
def test_a_name_is_the_last_parts_of_a_module(
    model: str, name: str, count: int, tmp_path: Path
) -> None:
    assert len(resolve(write_model(model, tmp_path), [name])) == count


@pytest.mark.parametrize("name", ["q_prj", "proj", "lm_head", "embed_tokens", "input_layernorm"])
def test_a_name_that_matches_nothing_is_an_error_that_lists_those_there_are(
    name: str, tmp_path: Path
) -> None:
    config = write_model("llama", tmp_path)
    with pytest.raises(ValueError, match=rf"no module '{name}'.*q_proj, k_proj, .*all-linear"):
        resolve(config, ["v_proj", name])
    with pytest.raises(ValueError, match="adapter of nothing"):
        resolve(config, [])


def test_routers_have_no_adapter(tmp_path: Path) -> None:
    config = write_model("qwen2-moe", tmp_path)
    assert not any("mlp.gate." in name or "share" in leaves({name}) for name in adaptable(config))
    with pytest.raises(ValueError, match="no module 'gate'"):
        resolve(config, ["gate"])


def test_experts_are_adapted_wholly_or_not_at_all(tmp_path: Path) -> None:
    config = write_model("qwen3-moe", tmp_path)
    one = [f"experts.1.{part}" for part in config.names.expert_parts]
    two = [name.replace(".1.", f".{number}.") for name in one for number in (0, 4)]
    for names in (["gate_proj"], ["gate_up_proj"], ["down_proj", "up_proj"], one, two):
        with pytest.raises(ValueError, match="name gate_up_proj and down_proj"):
            resolve(config, names)
    layer = [f"model.layers.1.mlp.experts.{number}" for number in range(6)]
    whole = [f"{expert}.{part}" for expert in layer for part in config.names.expert_parts]
    assert len(resolve(config, ["q_proj", *whole])) == 3 + 18


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (["mlp.gate"], "an adapter of .*mlp.gate.weight: routers"),
        (["mlp.experts.1.down_proj"], "of 1 matrices .* all 6, also .*0.down_proj.* and 1 more"),
        ([f"mlp.experts.{n}.gate_proj" for n in range(6)], "of 6 matrices .* all 12"),
    ],
)
def test_an_adapter_of_files_that_no_stage_can_hold_is_refused(
    tensors: list[str], message: str, tmp_path: Path
) -> None:
    config = write_model("qwen3-moe", tmp_path)
    check_tensors(config, [f"model.layers.0.mlp.experts.{n}.down_proj.weight" for n in range(6)])
    with pytest.raises(ValueError, match=message):
        check_tensors(config, [f"model.layers.0.{tensor}.weight" for tensor in tensors])


def test_scale_is_alpha_by_the_rank_or_by_its_root(tmp_path: Path) -> None:
    config = write_model("llama", tmp_path)
    assert lora_of(config, ["q_proj"], rank=4, alpha=6).scale == 1.5
    assert lora_of(config, ["q_proj"], rank=4, alpha=6, rslora=True).scale == 3
