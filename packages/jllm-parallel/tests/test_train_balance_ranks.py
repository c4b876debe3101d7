"""Balance of experts on every layout: stages change no bit, replicas no count."""

import json
from pathlib import Path

import pytest

from expert_helpers import (
    BALANCED,
    DEEPSEEK_V3,
    LAYERS,
    assert_close,
    balanced_run,
    expert_lines,
    experts_config,
)
from jllm.parallel.config.config import TrainConfig
from training_helpers import alone, changed, checkpoint_bytes, metrics, train


@pytest.fixture(scope="module", params=BALANCED)
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    values = balanced_run(tmp_path_factory.mktemp(request.param), request.param)
    alone(values)
    return values


def test_two_stages_have_the_same_bits(config: TrainConfig) -> None:
    """What a checkpoint keeps for it is put to use by going on from one of a single process."""
    resumed = config.aux_loss_scope == "global" or config.router_bias_update_rate > 0
    flags = {"resume_ckpt": config.checkpoint, "tag": "6"} if resumed else {}
    other = changed(config, "stages", pipe_parallel_size=2, **flags)
    train(2, other)
    one, two = Path(config.checkpoint), Path(other.checkpoint)
    assert expert_lines(two) == expert_lines(one)[6 if resumed else 0 :]
    assert checkpoint_bytes(two, 12) == checkpoint_bytes(one, 12)


def test_two_replicas_have_the_same_loads(config: TrainConfig) -> None:
    other = changed(config, "replicas")
    train(2, other)
    assert_close(Path(config.checkpoint), Path(other.checkpoint))


@pytest.mark.parametrize("adapted", ["2.self_attn.o_proj", "2.mlp.shared_experts.up_proj"])
def test_layers_below_the_lowest_adapter_are_counted_on_every_layout(
    adapted: str, tmp_path: Path
) -> None:
    """No gradient goes through them in the first stage, and one does in the second."""
    (tmp_path / "sizes").mkdir()
    (tmp_path / "sizes/config.json").write_text(json.dumps(DEEPSEEK_V3))
    made = str(tmp_path / "model")
    base = experts_config(tmp_path, model=str(tmp_path / "sizes"))
    alone(
        TrainConfig(**(vars(base) | {"num_train_epochs": 0, "checkpoint": "", "output_dir": made}))
    )
    adapter = {
        "init": False,
        "lora_dim": 2,
        "lora_module_name": f"model.layers.{adapted}",
        "only_optimize_lora": True,
        "only_ckpt_lora": True,
        "aux_loss_alpha": 0.02,
        "aux_loss_scope": "global",
        "max_steps": 4,
        "steps_per_checkpoint": 2,
    }
    one = changed(base, "frozen", model=made, **adapter)
    alone(one)
    resumed = {"resume_ckpt": one.checkpoint, "tag": "2"}
    two = changed(one, "two", pipe_parallel_size=2, partition_method="2,4", **resumed)
    train(2, two)
    recomputed = changed(one, "recomputed", checkpoint_grad_interval=1)
    alone(recomputed)
    lines = expert_lines(Path(one.checkpoint))
    assert expert_lines(Path(two.checkpoint)) == lines[2:]
    assert expert_lines(Path(recomputed.checkpoint)) == lines
    assert all(line["expert_dropped"] == 0 for line in metrics(Path(one.checkpoint)))
    assert [line["aux_loss"] >= 0.9 * 0.02 * len(LAYERS) for line in lines] == [True] * 4
