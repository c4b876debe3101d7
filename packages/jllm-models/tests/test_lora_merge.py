"""A merged model is the model with its adapter, ours or peft's, and another base is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from jllm.models.families import read_config
from jllm.models.lora import merge_files as module
from jllm.models.lora.base import BASE, Base, digest_of_pieces, piece_digests, write_base
from jllm.models.lora.merge_command import run
from lora_helpers import adapted_stage, random_adapter, write_adapter
from tiny_model_helpers import (
    loaded_stage,
    one_document,
    random_tokens,
    reference_model,
    relative_error,
    saved,
)

SEEDS = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
TOKENS = random_tokens(20)
EAGER = {"attn_implementation": "eager", "experts_implementation": "eager"}


def merge(folder: Path, *more: str) -> int:
    arguments = {"model": "base", "adapter": "adapter", "output": "merged"}
    flags = [part for flag, name in arguments.items() for part in (f"--{flag}", str(folder / name))]
    return run([*flags, *more])


def their_logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=TOKENS[None], use_cache=False).logits[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["llama-tied", "qwen2", "qwen2-moe", "qwen3-moe-dense-window"])
def test_merged_is_base_and_adapter(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    saved(reference_model(name).to(dtype), tmp_path / "base")
    stage, lora = adapted_stage(tmp_path / "base", SEEDS, rslora=name == "qwen2")
    write_adapter(stage, lora, tmp_path / "base", tmp_path / "adapter")
    assert merge(tmp_path) == 0
    merged, base = (load_file(tmp_path / d / "model.safetensors") for d in ("merged", "base"))
    adapter = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert merged.keys() == base.keys()
    for tensor, values in base.items():
        expected = values.double()
        if tensor in lora.tensors:
            before = f"base_model.model.{tensor.removesuffix('.weight')}.lora_"
            a, b = (adapter[f"{before}{kind}.weight"].double() for kind in "AB")
            expected = expected + lora.scale * b @ a
        assert torch.equal(merged[tensor], expected.to(dtype)), tensor
    for file in ("config.json", "generation_config.json"):
        assert (tmp_path / "merged" / file).read_bytes() == (tmp_path / "base" / file).read_bytes()
    if dtype == torch.float32:
        with torch.no_grad():
            ours = stage.logits(TOKENS, one_document(20))
            again = loaded_stage(tmp_path / "merged").logits(TOKENS, one_document(20))
        theirs = their_logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged", **EAGER))
        assert relative_error(again, ours) < 1e-5
        assert relative_error(theirs, ours) < 1e-5


TARGETS = {
    "llama": {"target_modules": ["q_proj", "v_proj", "down_proj"], "r": 3},
    "llama-patterns": {
        "target_modules": ["q_proj", "o_proj"],
        "rank_pattern": {"o_proj": 2},
        "alpha_pattern": {"layers.1.self_attn.q_proj": 5},
    },
    "qwen3-moe": {
        "target_modules": ["q_proj"],
        "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
        "use_rslora": True,
    },
    "qwen2-moe": {
        "target_modules": ["o_proj"],
        "target_parameters": ["mlp.experts.down_proj"],
    },
}


@pytest.mark.parametrize("case", TARGETS)
def test_an_adapter_of_peft_is_merged_as_peft_does(case: str, tmp_path: Path) -> None:
    model = reference_model(case.removesuffix("-patterns"))
    saved(model, tmp_path / "base")
    options = {"r": 4, "lora_alpha": 6} | TARGETS[case]
    theirs = get_peft_model(model, LoraConfig(**options))
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if ".lora_" in name:
                parameter.copy_(random_adapter(name, tuple(parameter.shape)))
    theirs.save_pretrained(tmp_path / "adapter")
    adapted = their_logits(theirs)
    assert merge(tmp_path) == 0
    reference = theirs.merge_and_unload()
    reference.save_pretrained(tmp_path / "reference")
    ours, expected = (
        load_file(tmp_path / d / "model.safetensors") for d in ("merged", "reference")
    )
    assert ours.keys() == expected.keys()
    for name, values in expected.items():
        assert relative_error(ours[name], values) < 1e-6, name
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert relative_error(their_logits(opened), adapted) < 1e-5


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """A folder with a model in several files and an adapter of it that names its base."""
    model = reference_model("llama")
    model.save_pretrained(tmp_path / "base", max_shard_size="60KB")
    stage, lora = adapted_stage(tmp_path / "base", SEEDS)
    adapter = write_adapter(stage, lora, tmp_path / "base", tmp_path / "adapter")
    digest = digest_of_pieces([piece_digests(tmp_path / "base")])
    (adapter / BASE).write_bytes(write_base(Base(path=str(tmp_path / "base"), digest=digest)))
    return tmp_path


def error_of(folder: Path, capsys: pytest.CaptureFixture) -> str:
    assert merge(folder) == 2
    assert not (folder / "merged").exists()
    return capsys.readouterr().err


def test_a_model_in_several_files_keeps_them(llama: Path) -> None:
    assert merge(llama) == 0
    names = {path.name for path in (llama / "base").iterdir()}
    assert {path.name for path in (llama / "merged").iterdir()} == names
    assert len([name for name in names if name.endswith(".safetensors")]) > 3
    adapted = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(llama / "base"), llama / "adapter"
    )
    opened = AutoModelForCausalLM.from_pretrained(llama / "merged")
    assert relative_error(their_logits(opened), their_logits(adapted)) < 1e-5


def test_another_base_is_refused(llama: Path, capsys: pytest.CaptureFixture) -> None:
    file = sorted((llama / "base").glob("*.safetensors"))[0]
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert "not the weights that the adapter was trained on" in error_of(llama, capsys)


def test_a_model_of_other_sizes_is_refused_with_every_tensor(
    llama: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.rmtree(llama / "base")
    saved(reference_model("llama", intermediate_size=64), llama / "base")
    text = error_of(llama, capsys)
    assert "mlp.up_proj: A [4, 48] and B [80, 4] do not fit a weight of shape [64, 48]" in text
    assert text.count("do not fit") == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "use_dora = True: only plain LoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"peft_type": "IA3"}, "peft_type = 'IA3'"),
        ({"r": 0}, "r must be a positive whole number"),
    ],
)
def test_what_is_not_plain_lora_is_refused(
    change: dict, message: str, llama: Path, capsys: pytest.CaptureFixture
) -> None:
    path = llama / "adapter/adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert message in error_of(llama, capsys)


def test_no_tensor_of_an_adapter_is_passed_over(llama: Path, capsys: pytest.CaptureFixture) -> None:
    path = llama / "adapter/adapter_model.safetensors"
    tensors = load_file(path)
    layer = "base_model.model.model.layers"
    del tensors[f"{layer}.0.self_attn.q_proj.lora_B.weight"]
    tensors[f"{layer}.7.self_attn.q_proj.lora_A.weight"] = torch.zeros(4, 48)
    tensors[f"{layer}.7.self_attn.q_proj.lora_B.weight"] = torch.zeros(48, 4)
    tensors["base_model.model.lm_head.weight"] = torch.zeros(3)
    save_file(tensors, path)
    text = error_of(llama, capsys)
    assert "layers.0.self_attn.q_proj: lora_B is missing" in text
    assert "layers.7.self_attn.q_proj: the model has no weight of this name" in text
    assert "lm_head.weight: neither lora_A nor lora_B" in text


def test_an_output_that_is_there_is_refused(llama: Path, capsys: pytest.CaptureFixture) -> None:
    (llama / "merged").mkdir()
    (llama / "merged/notes.txt").write_text("mine")
    assert merge(llama) == 2
    assert "is there already" in capsys.readouterr().err
    assert [path.name for path in (llama / "merged").iterdir()] == ["notes.txt"]


def test_an_interrupted_merge_goes_on(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    plain = module._merge_file

    def stop_at_third(source: Path, *rest: object) -> None:
        written.append(source.name)
        if len(written) == 3:
            raise KeyboardInterrupt
        plain(source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_merge_file", stop_at_third)
    assert merge(llama) == 130
    assert not (llama / "merged").exists()
    assert merge(llama) == 0
    assert written[2] == written[3] and len(written) == len(set(written)) + 1
    monkeypatch.undo()
    assert run(["--model", f"{llama}/base", "--adapter", f"{llama}/adapter",
                "--output", f"{llama}/again"]) == 0  # fmt: skip
    for path in (llama / "again").iterdir():
        assert path.read_bytes() == (llama / "merged" / path.name).read_bytes()
    assert read_config(llama / "merged") == read_config(llama / "base")
