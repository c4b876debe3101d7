"""Training of an adapter: what is trained, what is saved, what opens it, how it goes on."""

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from expert_helpers import DEEPSEEK_V3, QWEN3
from jllm.models.config.units import unit_count
from jllm.models.families import read_config
from jllm.models.lora.merge_command import run as merge
from jllm.models.weights.slices import shapes
from jllm.models.weights.table import weight_table
from jllm.parallel.config.checks import problems
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.lora.adapter import lora_of
from lora_training_helpers import STEPS, all_bytes, base_tensors, lora_config
from training_helpers import VOCABULARY, alone, changed, losses, run_and_signal

TOKENS = torch.arange(20)[None] % VOCABULARY


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run that saves the merged model and the adapter."""
    values = lora_config(tmp_path_factory.mktemp("lora"))
    alone(values)
    return values


@pytest.fixture(scope="module")
def adapter_only(config: TrainConfig) -> TrainConfig:
    """The same run, saving the adapter alone."""
    values = changed(config, "adapter_only", only_ckpt_lora=True)
    alone(values)
    return values


def saved(config: TrainConfig, step: int = STEPS) -> Path:
    return Path(config.checkpoint) / str(step)


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=TOKENS).logits


def test_the_loss_falls(config: TrainConfig) -> None:
    found = losses(Path(config.checkpoint))
    assert len(found) == STEPS
    assert sum(found[-5:]) < sum(found[:5])


def test_a_checkpoint_is_the_merged_model_with_the_adapter_beside(config: TrainConfig) -> None:
    merged, loading = AutoModelForCausalLM.from_pretrained(saved(config), output_loading_info=True)
    assert not any(loading.values())
    base = AutoModelForCausalLM.from_pretrained(config.model)
    before = logits(base)
    adapted = PeftModel.from_pretrained(base, saved(config) / "adapter")
    torch.testing.assert_close(logits(merged), logits(adapted), rtol=1e-5, atol=1e-5)
    assert (logits(adapted) - before).abs().max() > 0.1
    theirs = adapted.merge_and_unload().state_dict()
    for name, values in load_file(saved(config) / "model.safetensors").items():
        torch.testing.assert_close(values, theirs[name], rtol=1e-6, atol=1e-7)


def test_weights_without_an_adapter_stay_bit_for_bit(config: TrainConfig) -> None:
    merged, base = load_file(saved(config) / "model.safetensors"), base_tensors(config)
    assert merged.keys() == base.keys()
    same = {name for name in base if torch.equal(merged[name], base[name])}
    assert same == {name for name in base if "norm" in name or "embed" in name}


def test_states_are_those_of_the_adapter_alone(config: TrainConfig) -> None:
    adapter = load_file(saved(config) / "adapter/adapter_model.safetensors")
    numbers = sum(values.numel() for values in adapter.values())
    for name in ("exp_avg", "exp_avg_sq"):
        state = load_file(saved(config) / f"trainer/{name}.safetensors")
        assert state.keys() == adapter.keys()
        assert sum(values.numel() for values in state.values()) == numbers
    assert not (saved(config) / "trainer/master.safetensors").exists()


def test_only_ckpt_lora_saves_the_same_adapter_and_no_model(
    config: TrainConfig, adapter_only: TrainConfig
) -> None:
    alone_there, beside = all_bytes(saved(adapter_only)), all_bytes(saved(config))
    assert alone_there == {
        name.removeprefix("adapter/"): data
        for name, data in beside.items()
        if name != "model.safetensors"
    }
    base = AutoModelForCausalLM.from_pretrained(config.model)
    adapted = PeftModel.from_pretrained(base, saved(adapter_only))
    merged = AutoModelForCausalLM.from_pretrained(saved(config))
    torch.testing.assert_close(logits(adapted), logits(merged), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("only", [False, True])
def test_ten_steps_a_kill_and_ten_more_are_twenty(
    only: bool, config: TrainConfig, adapter_only: TrainConfig
) -> None:
    run = changed(config, f"killed{only}", steps_per_checkpoint=10, only_ckpt_lora=only)
    assert run_and_signal(run, 12) == -signal.SIGKILL
    assert saved(run, 10).exists()
    assert not saved(run).exists()
    alone(changed(run, f"killed{only}", resume_ckpt=run.checkpoint))
    whole = adapter_only if only else config
    assert losses(Path(run.checkpoint)) == losses(Path(whole.checkpoint))
    assert all_bytes(saved(run)) == all_bytes(saved(whole))


def test_resuming_refuses_another_base_and_another_adapter(
    adapter_only: TrainConfig, tmp_path: Path
) -> None:
    run = changed(adapter_only, "refused", resume_ckpt=adapter_only.checkpoint, max_steps=21)
    for change in ({"lora_alpha": 4.0}, {"lora_module_name": "q_proj"}, {"lora_dim": 2}):
        with pytest.raises(ValueError, match=r"--lora_dim, .*this one has"):
            alone(changed(run, "refused", **change))
    tensors = base_tensors(run)
    tensors["model.norm.weight"] += 1e-3
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((Path(run.model) / "config.json").read_bytes())
    with pytest.raises(ValueError, match=rf"not the weights that .*give {run.model}"):
        alone(changed(run, "refused", model=str(tmp_path)))
    with pytest.raises(ValueError, match=r"had .*or --lora_adapter to start a new run"):
        alone(changed(run, "refused", seed=7))


def test_an_adapter_is_started_from_on_its_own_base(
    adapter_only: TrainConfig, tmp_path: Path
) -> None:
    adapter, model, out = (tmp_path / name for name in ("adapter", "model", "out"))
    shutil.copytree(saved(adapter_only), adapter)
    shutil.copytree(adapter_only.model, model)
    tensors = base_tensors(adapter_only)
    tensors["model.norm.weight"] += 1e-3
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    start = {"lora_dim": 0, "lora_adapter": str(adapter), "num_train_epochs": 0, "checkpoint": ""}
    frozen = TrainConfig(**(vars(adapter_only) | start | {"output_dir": str(out)}))
    both = replace(frozen, only_optimize_lora=False, only_ckpt_lora=False)
    evaluation = replace(
        both, output_dir="", eval_data=both.train_data, log_dir=str(tmp_path / "l")
    )
    for run in (frozen, both, evaluation):
        with pytest.raises(ValueError, match=rf"not trained on .*that was {run.model}; .*manifest"):
            alone(replace(run, model=str(model)))
    for name in ("jllm_base.json", "manifest.json"):  # as the message says
        (adapter / name).unlink()
    alone(replace(both, model=str(model)))
    assert (out / "model.safetensors").exists()


def test_an_adapter_of_8_bits_is_merged_by_training_no_epoch(
    config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    narrow, stored, wide = tmp_path / "narrow", {}, base_tensors(config)
    for name in [name for name in wide if "proj" in name]:
        scale = wide[name].abs().max() / 448
        stored[name] = (wide[name] / scale).to(torch.float8_e4m3fn)
        stored[f"{name}_scale_inv"] = scale.view(1, 1)
        wide[name] = stored[name].float() * scale
    shutil.copytree(config.model, narrow)
    save_file(wide | stored, narrow / "model.safetensors", metadata={"format": "pt"})
    values = json.loads((narrow / "config.json").read_text())
    kind = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
    (narrow / "config.json").write_text(json.dumps(values | {"quantization_config": kind}))
    run = changed(config, "narrow", model=str(narrow), only_ckpt_lora=True, max_steps=2)
    alone(run)
    out, adapter = tmp_path / "out", saved(run, 2)
    arguments = ["--model", str(narrow), "--adapter", str(adapter), "--output", str(out)]
    assert merge(arguments) == 2
    command = f"train_pipe --model {narrow} --lora_adapter {adapter} --num_train_epochs 0"
    assert command in capsys.readouterr().err
    start = {"model": str(narrow), "lora_adapter": str(adapter), "num_train_epochs": 0}
    alone(TrainConfig(**start, output_dir=str(out), threads=1))
    merged, pairs = (
        load_file(out / "model.safetensors"),
        load_file(adapter / "adapter_model.safetensors"),
    )
    for name, values in wide.items():
        module = f"base_model.model.{name.removesuffix('.weight')}"
        if "proj" in name:
            ab = (pairs[f"{module}.lora_{kind}.weight"].double() for kind in "BA")
            values = (values.double() + 2 * torch.mm(*ab)).float()
        torch.testing.assert_close(merged[name], values, rtol=1e-6, atol=0)


def test_a_run_starts_from_an_adapter_that_peft_wrote(
    adapter_only: TrainConfig, tmp_path: Path
) -> None:
    base = AutoModelForCausalLM.from_pretrained(adapter_only.model)
    theirs = PeftModel.from_pretrained(base, saved(adapter_only))
    theirs.save_pretrained(tmp_path / "theirs")
    start = {"lora_dim": 0, "lora_adapter": str(tmp_path / "theirs")}
    run = changed(adapter_only, "unused", **start, num_train_epochs=0, checkpoint="")
    out = tmp_path / "out"
    alone(TrainConfig(**(vars(run) | {"output_dir": str(out)})))  # type: ignore[arg-type]
    ours = load_file(out / "adapter_model.safetensors")
    for name, values in load_file(saved(adapter_only) / "adapter_model.safetensors").items():
        assert torch.equal(ours[name], values), name
    for other in ({"lora_alpha": 4.0}, {"lora_rslora": True}, {"lora_module_name": "q_proj"}):
        with pytest.raises(ValueError, match=f"--lora_adapter .*drop --{next(iter(other))}"):
            alone(changed(adapter_only, "refused", **start, **other))
    one = changed(adapter_only, "one", **start, max_steps=1)
    alone(one)
    assert losses(Path(one.checkpoint))[0] < losses(Path(adapter_only.checkpoint))[0]


def test_without_only_optimize_lora_the_model_is_trained_too(
    config: TrainConfig, capsys: pytest.CaptureFixture
) -> None:
    run = changed(config, "both", only_optimize_lora=False, max_steps=4, steps_per_checkpoint=2)
    alone(run)
    merged, base = load_file(saved(run, 4) / "model.safetensors"), base_tensors(config)
    assert not any(torch.equal(merged[name], base[name]) for name in base)
    state = load_file(saved(run, 4) / "trainer/exp_avg.safetensors")
    master = load_file(saved(run, 4) / "trainer/master.safetensors")
    adapter = load_file(saved(run, 4) / "adapter/adapter_model.safetensors")
    assert state.keys() == master.keys() == base.keys() | adapter.keys()
    arguments = f"--model {run.model} --adapter {saved(run, 4)}/adapter --output {run.checkpoint}_x"
    assert merge(arguments.split()) == 2
    assert "that was a model trained with it" in capsys.readouterr().err
    again = changed(run, "again", resume_ckpt=run.checkpoint, tag="2")
    alone(again)
    assert all_bytes(saved(again, 4)) == all_bytes(saved(run, 4))


def test_contradictions_are_told() -> None:
    def found(**flags: object) -> str:
        values = {"model": "m", "train_data": "d", "no_save": True} | flags
        return "\n".join(problems(TrainConfig(**values), 1))  # type: ignore[arg-type]

    assert "--lora_dim" in found(only_optimize_lora=True)
    assert "--only_optimize_lora" in found(lora_dim=4, only_ckpt_lora=True)
    assert "--init and an adapter" in found(lora_dim=4, init=True)
    for flags in ({"lora_alpha": 16.0}, {"lora_module_name": "q_proj"}):
        assert "needs an adapter" in found(**flags)
        assert not found(lora_dim=4, **flags)
        assert not found(lora_adapter="a", **flags)
    assert "--lora_alpha 0" in found(lora_dim=4, lora_alpha=0.0)
    assert not found(lora_dim=4, only_optimize_lora=True, only_ckpt_lora=True)


@pytest.mark.parametrize("tensor", ["lm_head", "model.layers.1.mlp.gate"])
def test_an_adapter_that_no_stage_can_hold_is_refused(tensor: str, tmp_path: Path) -> None:
    values = DEEPSEEK_V3 if "gate" in tensor else QWEN3
    (tmp_path / "config.json").write_text(json.dumps(values))
    model = read_config(tmp_path)
    rows = dict(shapes(weight_table(model, range(unit_count(model)))))[f"{tensor}.weight"][0]
    pair = {"A": torch.ones(2, 16), "B": torch.ones(rows, 2)}
    named = {f"base_model.model.{tensor}.lora_{kind}.weight": pair[kind] for kind in "AB"}
    save_file(named, tmp_path / "adapter_model.safetensors")
    spec = {"peft_type": "LORA", "r": 2, "lora_alpha": 2}
    (tmp_path / "adapter_config.json").write_text(json.dumps(spec))
    run = TrainConfig(model=str(tmp_path), lora_adapter=str(tmp_path))
    with pytest.raises(ValueError, match=f"adapter of {tensor}.weight: .*merge it"):
        lora_of(run, model)


def test_state_names_the_base(adapter_only: TrainConfig) -> None:
    state = json.loads((saved(adapter_only) / "trainer/state.json").read_text())
    base = json.loads((saved(adapter_only) / "jllm_base.json").read_text())
    assert state["lora_base"] == base
    assert base["path"] == str(Path(adapter_only.model).resolve())


def test_the_overview_says_what_is_trained(
    config: TrainConfig, capsys: pytest.CaptureFixture
) -> None:
    base = sum(values.numel() for values in base_tensors(config).values())
    adapter = load_file(saved(config) / "adapter/adapter_model.safetensors")
    own = sum(values.numel() for values in adapter.values())
    for frozen, trained in ((True, own), (False, own + base)):
        alone(changed(config, "dry", dry_run=True, only_optimize_lora=frozen))
        assert f"trained {trained:,} of {own + base:,} parameters" in capsys.readouterr().err
