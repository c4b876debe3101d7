"""Files with tensors that the model does not have are refused; those of every family are not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from jllm.models.families import read_config
from jllm.models.generation.command import run
from jllm.models.weights.extra import extra_tensors, refuse_extra
from jllm.models.weights.names import tensor_names
from own_code_helpers import OWN_CODE, write_model
from prediction_helpers import Naive
from tiny_model_helpers import MODELS

NAMES = ("model.layers.0.self_attn.q_proj.bias", "model.layers.1.mlp.shared_expert.up_proj.weight")


def with_extra(model: str, directory: Path, names: tuple[str, ...]) -> Path:
    """Write a tiny model and tensors of these names beside its own."""
    write_model(model, directory)
    path = directory / "model.safetensors"
    save_file(load_file(path) | {name: torch.ones(48) for name in names}, path)
    return directory


@pytest.mark.parametrize("name", [*MODELS, *OWN_CODE])
def test_a_directory_of_every_family_has_none(name: str, tmp_path: Path) -> None:
    config = write_model(name, tmp_path)
    refuse_extra(config, tmp_path)


def test_copies_for_multi_token_prediction_are_none(tmp_path: Path) -> None:
    Naive(2).save(tmp_path)
    config = read_config(tmp_path)
    copy = "model.layers.4.shared_head.head.weight"
    assert copy in (tensor_names(tmp_path) or ())
    refuse_extra(config, tmp_path)
    assert extra_tensors(replace(config, prediction=None), [copy]) == [copy]


def test_they_are_listed(tmp_path: Path) -> None:
    directory = with_extra("qwen3-moe", tmp_path, NAMES)
    with pytest.raises(ValueError, match="2 tensors .*\n  " + "\n  ".join(NAMES)):
        refuse_extra(read_config(directory), directory)


def test_many_are_counted(tmp_path: Path) -> None:
    names = tuple(f"model.layers.1.self_attn.indexer.{n}.weight" for n in range(9))
    directory = with_extra("llama", tmp_path, names)
    with pytest.raises(ValueError, match=r"(?s)9 tensors .*indexer\.7\.weight\n  and 1 more$"):
        refuse_extra(read_config(directory), directory)


def test_an_index_is_enough(tmp_path: Path) -> None:
    directory = with_extra("llama", tmp_path, NAMES[:1])
    path = directory / "model.safetensors"
    files = dict.fromkeys(load_file(path), "model-00001-of-00001.safetensors")
    path.rename(directory / "model-00001-of-00001.safetensors")
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": files}))
    with pytest.raises(ValueError, match=f"1 tensors .*\n  {NAMES[0]}$"):
        refuse_extra(read_config(directory), directory)


def test_generation_refuses_them(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    directory = with_extra("llama", tmp_path, NAMES[:1])
    assert run(["--model", str(directory), "--prompt", "x"]) == 2
    assert NAMES[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("llama", "model.layers.0.self_attn.rotary_emb.inv_freq"),
        ("baichuan-7b", "model.layers.0.self_attn.rotary_emb.inv_freq"),
        ("llama-tied", "lm_head.weight"),
        ("deepseek-v3", "model.layers.1.self_attn.kv_b_proj.weight_scale_inv"),
    ],
)
def test_what_published_directories_have_besides_is_no_other_model(
    model: str, name: str, tmp_path: Path
) -> None:
    config = write_model(model, tmp_path)
    assert extra_tensors(config, tensor_names(tmp_path)) == []
    assert extra_tensors(config, [name]) == []
    assert extra_tensors(config, [f"x.{name}x"]) == [f"x.{name}x"]
