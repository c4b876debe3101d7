"""Balance of experts on every layout: stages change no bit, replicas no count."""

from pathlib import Path

import pytest

from expert_helpers import BALANCED, assert_close, balanced_run, expert_lines
from jllm.parallel.config import TrainConfig
from training_helpers import alone, changed, checkpoint_bytes, train


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
