"""Modules of multi-token prediction train, in one process and in a pipeline with the same bits."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from family_helpers import SIZES, STEPS, trained_alone
from jllm.models.families import read_config
from jllm.parallel.config.config import TrainConfig
from training_helpers import (
    alone,
    changed,
    checkpoint_bytes,
    losses,
    metrics,
    train,
)

HALF, LAYERS = STEPS // 2, SIZES["num_hidden_layers"]
MODEL = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "q_lora_rank": None,
    "kv_lora_rank": 12,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
    "moe_intermediate_size": 8,
    "first_k_dense_replace": 1,
    "num_nextn_predict_layers": 1,
}
TRAINED = {"mtp_loss_weight": 0.5, "weight_decay": 0.1, "router_bias_update_rate": 0.001}
BEHIND = f"model.layers.{LAYERS}."


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("prediction")
    return trained_alone(folder, MODEL, steps_per_checkpoint=HALF, **TRAINED)


def further(folder: Path) -> list[float]:
    """Losses of the module, step by step."""
    return [m["mtp_loss_1"] for m in metrics(folder) if "loss" in m]


def weights(folder: Path, step: int = STEPS) -> dict[str, torch.Tensor]:
    return load_file(folder / str(step) / "model.safetensors")


def test_a_pipeline_has_the_same_bits(config: TrainConfig) -> None:
    other = changed(config, "stages", pipe_parallel_size=2, checkpoint_grad_interval=1)
    train(2, other)
    one, two = Path(config.checkpoint), Path(other.checkpoint)
    assert losses(two) == losses(one)
    assert further(two) == further(one)
    assert further(one)[-1] < further(one)[0]
    assert checkpoint_bytes(two, STEPS) == checkpoint_bytes(one, STEPS)


def test_the_module_is_saved_as_published_and_transformers_opens_the_rest(
    config: TrainConfig,
) -> None:
    saved = weights(Path(config.checkpoint))
    for copy, name in (("embed_tokens", "model.embed_tokens"), ("shared_head.head", "lm_head")):
        assert torch.equal(saved[f"{BEHIND}{copy}.weight"], saved[f"{name}.weight"])
    assert saved[f"{BEHIND}eh_proj.weight"].shape == (16, 32)
    assert saved[f"{BEHIND}mlp.gate.e_score_correction_bias"].abs().max() > 0  # it was balanced
    states = load_file(Path(config.checkpoint) / str(STEPS) / "trainer/exp_avg.safetensors")
    assert saved.keys() - states.keys() == {
        f"{BEHIND}embed_tokens.weight",
        f"{BEHIND}shared_head.head.weight",
        f"{BEHIND}mlp.gate.e_score_correction_bias",
        "model.layers.1.mlp.gate.e_score_correction_bias",
    }
    directory = Path(config.checkpoint) / str(STEPS)
    assert read_config(directory).prediction.depth == 1
    theirs = AutoModelForCausalLM.from_pretrained(directory).state_dict()
    assert torch.equal(theirs["model.embed_tokens.weight"], saved["model.embed_tokens.weight"])


def test_two_replicas_have_the_same_losses_up_to_the_order_of_sums(config: TrainConfig) -> None:
    other = changed(config, "replicas", max_steps=3, lr_scheduler_type="constant")
    train(2, other)
    one = changed(other, "one replica")
    alone(one)
    for read in (losses, further):
        found, expected = (read(Path(each.checkpoint)) for each in (other, one))
        assert len(found) == 3
        assert found == pytest.approx(expected, rel=1e-5)


def test_resuming_continues_the_same_run(config: TrainConfig) -> None:
    other = changed(config, "resumed", resume_ckpt=config.checkpoint, tag=str(HALF))
    alone(other)
    one, two = Path(config.checkpoint), Path(other.checkpoint)
    assert further(two) == further(one)[HALF:]
    assert checkpoint_bytes(two, STEPS) == checkpoint_bytes(one, STEPS)


def test_without_a_weight_the_module_goes_along_unchanged(config: TrainConfig) -> None:
    frozen = {"init": False, "mtp_loss_weight": 0.0, "max_steps": 2}
    frozen |= {"from_ckpt": config.checkpoint}
    alone(changed(config, "kept", **frozen))
    train(2, changed(config, "kept apart", pipe_parallel_size=2, **frozen))
    folder = Path(changed(config, "kept").checkpoint)
    before, after = weights(Path(config.checkpoint)), weights(folder, 2)
    assert checkpoint_bytes(folder.with_name("kept apart"), 2) == checkpoint_bytes(folder, 2)
    assert before.keys() == after.keys()
    same = {name for name in before if torch.equal(before[name], after[name])}
    copies = {f"{BEHIND}embed_tokens.weight", f"{BEHIND}shared_head.head.weight"}
    assert same >= {name for name in before if name.startswith(BEHIND)} - copies
    assert not same & {"model.embed_tokens.weight", "lm_head.weight", *copies}
    assert torch.equal(after[f"{BEHIND}embed_tokens.weight"], after["model.embed_tokens.weight"])


def test_a_frozen_module_trains_the_adapter_of_the_model(
    config: TrainConfig, tmp_path: Path
) -> None:
    before = Path(config.checkpoint) / str(STEPS)
    flags = {"init": False, "model": str(before), "router_bias_update_rate": 0.0, "max_steps": 2}
    flags |= {"lora_dim": 2, "only_optimize_lora": True}
    adapters = []
    for weight in (0.0, 0.5):
        run = changed(config, f"adapted {weight}", **flags, mtp_loss_weight=weight)
        alone(run)
        folder = Path(run.checkpoint)
        assert all(("mtp_loss_1" in line) == (weight > 0) for line in metrics(folder))
        kept, merged = weights(Path(config.checkpoint)), weights(folder, 2)
        assert all(torch.equal(merged[n], kept[n]) for n in kept if n.startswith(BEHIND))
        adapters.append(load_file(folder / "2/adapter/adapter_model.safetensors"))
        assert not any(BEHIND in name for name in adapters[-1])
    without, with_loss = adapters
    assert any(not torch.equal(without[name], with_loss[name]) for name in without)


def test_init_makes_the_module_although_files_beside_the_configuration_have_none(
    config: TrainConfig, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SIZES | MODEL))
    kept = weights(Path(config.checkpoint))
    kept = {name: tensor for name, tensor in kept.items() if not name.startswith(BEHIND)}
    save_file(kept, tmp_path / "model.safetensors")
    other = changed(config, "again", model=str(tmp_path), max_steps=HALF)
    alone(other)
    assert further(Path(other.checkpoint))[0] == further(Path(config.checkpoint))[0]


def test_another_loss_is_another_run(config: TrainConfig) -> None:
    other = changed(config, "other", resume_ckpt=config.checkpoint, mtp_loss_weight=0.0)
    with pytest.raises(ValueError, match="--mtp_loss_weight .* had True, this one has None"):
        alone(other)


def test_a_model_without_the_module_cannot_train_it(config: TrainConfig, tmp_path: Path) -> None:
    values = {key: value for key, value in MODEL.items() if key != "num_nextn_predict_layers"}
    (tmp_path / "config.json").write_text(json.dumps(SIZES | values))
    with pytest.raises(ValueError, match=r"--mtp_loss_weight 0.5: .* names no module"):
        alone(changed(config, "none", model=str(tmp_path)))
