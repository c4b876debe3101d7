"""Balance of experts on every layout: stages change no bit, replicas no count."""

from pathlib import Path

import pytest

from expert_helpers import BALANCED, assert_close, expert_lines, experts_config
from jllm.parallel.config import TrainConfig
from training_helpers import alone, changed, checkpoint_bytes, train


@pytest.fixture(scope="module", params=BALANCED)
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp(request.param)
    values = experts_config(folder, steps_per_checkpoint=6, **BALANCED[request.param])
    alone(values)
    return values


def test_two_stages_have_the_same_bits(config: TrainConfig) -> None:
    """Of the `global` scope, going on from the checkpoint that one process saved."""
    resumed = config.aux_loss_scope == "global"
    flags = {"resume_ckpt": config.checkpoint, "tag": "6"} if resumed else {}
    other = changed(config, "stages", pipe_parallel_size=2, **flags)
    train(2, other)
    one, two = Path(config.checkpoint), Path(other.checkpoint)
    assert expert_lines(two) == expert_lines(one)[6 if resumed else 0 :]
    assert checkpoint_bytes(two, 12) == checkpoint_bytes(one, 12)


def test_two_replicas_have_the_same_loads(config: TrainConfig) -> None:
    other = changed(config, "replicas")
    train(2, other)
    assert_close(Path(config.checkpoint), Path(other.checkpoint), 1e-5)
