"""A pipeline gives the same bits as one process, however many stages and whichever schedule."""

from pathlib import Path

import pytest

from jllm.parallel.config.config import TrainConfig
from training_helpers import (
    alone,
    checkpoint_bytes,
    losses,
    metrics,
    train,
    write_data,
    write_model,
)

STEPS = 20


class Setting:
    """A model, its data, and the run of one process."""

    def __init__(self, folder: Path, *, tied: bool) -> None:
        self.folder = folder
        self.model = str(write_model(folder / "model", tied=tied))
        self.data = str(write_data(folder / "data", 61))
        self.held_out = str(write_data(folder / "held_out", 7, seed=1))
        alone(self.config("one"))

    def config(self, name: str, **changes: object) -> TrainConfig:
        values = {
            "model": self.model,
            "train_data": self.data,
            "eval_data": self.held_out,
            "num_train_epochs": 5,
            "max_steps": STEPS,
            "num_warmup_steps": 3.0,
            "learning_rate": 1e-2,
            "weight_decay": 0.1,
            "checkpoint": str(self.folder / name),
            "threads": 1,
        }
        return TrainConfig(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting(tmp_path_factory.mktemp("tied"), tied=True)


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting(tmp_path_factory.mktemp("untied"), tied=False)


def assert_same_bits(setting: Setting, name: str) -> None:
    one, other = setting.folder / "one", setting.folder / name
    assert len(losses(one)) == STEPS
    assert losses(other) == losses(one)
    held_out = [m["eval_loss"] for m in metrics(one) if "eval_loss" in m]
    assert [m["eval_loss"] for m in metrics(other) if "eval_loss" in m] == held_out
    assert checkpoint_bytes(other, STEPS) == checkpoint_bytes(one, STEPS)


@pytest.mark.parametrize("stages", [2, 4])
@pytest.mark.parametrize("schedule", ["1f1b", "gpipe"])
def test_tied_model_has_the_same_bits(tied: Setting, stages: int, schedule: str) -> None:
    name = f"{stages}-{schedule}"
    train(stages, tied.config(name, pipe_parallel_size=stages, schedule=schedule))
    assert_same_bits(tied, name)


@pytest.mark.parametrize(("stages", "method"), [(2, "5,1"), (4, "0,1,2,3,6")])
def test_untied_model_has_the_same_bits(untied: Setting, stages: int, method: str) -> None:
    name = f"{stages}-{method}"
    changes = {"pipe_parallel_size": stages, "partition_method": method}
    train(stages, untied.config(name, **changes))
    assert_same_bits(untied, name)


def test_recomputation_changes_no_bit(tied: Setting) -> None:
    alone(tied.config("recomputed", checkpoint_grad_interval=2))
    assert_same_bits(tied, "recomputed")
