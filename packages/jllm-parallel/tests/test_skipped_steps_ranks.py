"""A step without a trained token changes no weight, on every layout and after every resumption."""

import dataclasses
from pathlib import Path

import pytest
from safetensors.torch import load_file

from jllm.parallel.config.config import TrainConfig
from training_helpers import (
    alone,
    changed,
    checkpoint_bytes,
    losses,
    train,
    untrain,
    write_data,
    write_model,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run of six steps in one process, of which the third is skipped; all are saved."""
    folder = tmp_path_factory.mktemp("whole")
    config = TrainConfig(
        model=str(write_model(folder / "model")),
        train_data=str(write_data(folder / "data", 24)),
        global_batch_size=4,
        weight_decay=0.1,
        learning_rate=1e-2,
        checkpoint=str(folder / "run"),
        steps_per_checkpoint=1,
        skip_untrained_batches=True,
        threads=1,
    )
    untrain(Path(config.train_data), config, steps=[3])
    alone(config)
    return config


def weights(config: TrainConfig, step: int) -> dict[str, list]:
    file = Path(config.checkpoint) / str(step) / "model.safetensors"
    return {name: tensor.tolist() for name, tensor in load_file(file).items()}


def test_a_skipped_step_changes_no_weight(whole: TrainConfig) -> None:
    assert weights(whole, 3) == weights(whole, 2) != weights(whole, 1)
    assert weights(whole, 4) != weights(whole, 3)
    assert len(losses(Path(whole.checkpoint))) == 5


def test_two_stages_skip_the_same_step(whole: TrainConfig) -> None:
    config = changed(whole, "stages", pipe_parallel_size=2, steps_per_checkpoint=-1)
    train(2, config)
    assert losses(Path(config.checkpoint)) == losses(Path(whole.checkpoint))
    alike = checkpoint_bytes(Path(whole.checkpoint), 6)
    assert checkpoint_bytes(Path(config.checkpoint), 6) == alike


def test_two_replicas_skip_the_same_step(whole: TrainConfig) -> None:
    config = changed(whole, "replicas", steps_per_checkpoint=-1)
    train(2, config)
    assert losses(Path(config.checkpoint)) == pytest.approx(
        losses(Path(whole.checkpoint)), rel=1e-5
    )


@pytest.mark.parametrize("tag", ["2", "3"])
def test_a_resumed_run_is_the_same_run(whole: TrainConfig, tag: str) -> None:
    config = changed(
        dataclasses.replace(whole, steps_per_checkpoint=-1),
        f"resumed{tag}",
        resume_ckpt=whole.checkpoint,
        tag=tag,
    )
    alone(config)
    alike = checkpoint_bytes(Path(whole.checkpoint), 6)
    assert checkpoint_bytes(Path(config.checkpoint), 6) == alike
