"""An adapter's training does not depend on how processes are laid out."""

import contextlib
import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from jllm.parallel.config.config import TrainConfig
from jllm.parallel.training import command
from lora_training_helpers import STEPS, all_bytes, lora_config
from spawn_helpers import launch
from training_helpers import alone, changed, losses

MIXTURE = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "vocab_size": 61,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 8,
    "norm_topk_prob": True,
    "initializer_range": 0.2,
}
"""Sizes of a tiny mixture of experts, whose weights come from a seed."""
BRIEF = {"max_steps": 6, "lr_scheduler_type": "constant"}


def train_in_turn(configs: Sequence[tuple[int, TrainConfig]]) -> None:
    """Run configurations, each at a port, in these processes: starting them costs more."""
    for port, config in configs:
        os.environ["MASTER_PORT"] = str(port)
        assert command.train(config)


def launch_all(*configs: TrainConfig) -> None:
    """Run configurations in the same two processes."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in configs]
        for each in found:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in found]
    launch(2, train_in_turn, list(zip(ports, configs, strict=True)))


def saved(config: TrainConfig, step: int = STEPS) -> Path:
    return Path(config.checkpoint) / str(step)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run of 20 steps in one process, and others in two processes, in folders beside its own."""
    config = lora_config(tmp_path_factory.mktemp("llama"))
    alone(config)
    brief = changed(config, "brief", **BRIEF, only_ckpt_lora=True, steps_per_checkpoint=3)
    alone(brief)
    resumed = {"resume_ckpt": brief.checkpoint, "tag": "3", "pipe_parallel_size": 2}
    runs = (
        changed(config, "stages", pipe_parallel_size=2, checkpoint_grad_interval=1),
        changed(brief, "replicas"),
        changed(brief, "resumed", **resumed),
        changed(brief, "narrow", dtype="bfloat16"),
    )
    launch_all(*runs)
    return config


def test_a_pipeline_has_the_same_bits(llama: TrainConfig) -> None:
    two = changed(llama, "stages")
    assert losses(Path(two.checkpoint)) == losses(Path(llama.checkpoint))
    assert all_bytes(saved(two)) == all_bytes(saved(llama))


def test_replicas_differ_by_rounding_alone(llama: TrainConfig) -> None:
    one, two = changed(llama, "brief"), changed(llama, "replicas")
    found, expected = (torch.tensor(losses(Path(run.checkpoint))) for run in (two, one))
    assert len(found) == BRIEF["max_steps"]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_a_pipeline_resumes_the_adapter_of_one_process(llama: TrainConfig) -> None:
    whole, resumed = changed(llama, "brief"), changed(llama, "resumed")
    assert all_bytes(saved(resumed, 6)) == all_bytes(saved(whole, 6))


def test_replicas_keep_masters_of_a_narrow_adapter_alone(llama: TrainConfig) -> None:
    checkpoint = saved(changed(llama, "narrow"), 6)
    adapter = load_file(checkpoint / "adapter_model.safetensors")
    for name in ("exp_avg", "exp_avg_sq", "master"):
        assert load_file(checkpoint / f"trainer/{name}.safetensors").keys() == adapter.keys()
    assert {values.dtype for values in adapter.values()} == {torch.bfloat16}


def test_a_pipeline_of_experts_has_the_same_bits(tmp_path: Path) -> None:
    (tmp_path / "sizes").mkdir()
    (tmp_path / "sizes/config.json").write_text(json.dumps(MIXTURE))
    model = str(tmp_path / "mixture")
    made = {"model": str(tmp_path / "sizes"), "init": True, "output_dir": model}
    alone(TrainConfig(num_train_epochs=0, threads=1, **made))  # type: ignore[arg-type]
    one = changed(lora_config(tmp_path), "whole", model=model)
    alone(one)
    two = changed(one, "stages", pipe_parallel_size=2)
    launch_all(two)
    assert losses(Path(two.checkpoint)) == losses(Path(one.checkpoint))
    assert sum(losses(Path(one.checkpoint))[-5:]) < sum(losses(Path(one.checkpoint))[:5])
    assert all_bytes(saved(two)) == all_bytes(saved(one))
