"""A mixture of data sets is trained by its weights, resumed on another layout, and shown before."""

import re
from pathlib import Path

import fsspec
import pytest

from jllm.parallel.config.config import TrainConfig
from training_helpers import alone, changed, losses, train, write_data, write_model


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("mixture")
    large, small = (write_data(folder / name, rows) for name, rows in (("large", 41), ("small", 9)))
    values = TrainConfig(
        model=str(write_model(folder / "model")),
        train_data=f"{large}:0.7,{small}:0.3",
        num_train_epochs=2,
        learning_rate=1e-3,
        checkpoint=str(folder / "one"),
        steps_per_checkpoint=5,
        threads=1,
    )
    alone(values)
    return values


def test_an_epoch_is_as_many_rows_as_the_data_sets_have_together(config: TrainConfig) -> None:
    assert len(losses(Path(config.checkpoint))) == 2 * ((41 + 9) // 8)


def test_two_replicas_continue_what_one_began(config: TrainConfig) -> None:
    """Float32 sums of up to 8 gradients in another order differ by some units of 2⁻²⁴ relative."""
    resumed = changed(config, "two", resume_ckpt=config.checkpoint, tag="5")
    train(2, resumed)
    assert losses(Path(resumed.checkpoint)) == pytest.approx(
        losses(Path(config.checkpoint))[5:], rel=1e-6
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_data": "SMALL:0.3,LARGE:0.7"}, "--train_data (its contents): the checkpoint's"),
        ({"train_data": "LARGE:0.6,SMALL:0.4"}, "--train_data (its contents): the checkpoint's"),
        ({"eval_data": "LARGE:0.6,SMALL:0.4"}, "name one folder"),
        ({"train_data": "LARGE:1,SMALL:9", "global_batch_size": 16}, "small: has 9 rows, by its"),
        ({"train_data": "LARGE,SMALL:9"}, "ends in no weight: write folder:weight"),
    ],
)
def test_other_weights_and_what_cannot_be_meant_are_refused(
    config: TrainConfig, changes: dict[str, object], message: str
) -> None:
    values = dict(changes)
    for name in changes.keys() - {"global_batch_size"}:
        large, small = (item.rpartition(":")[0] for item in config.train_data.split(","))
        values[name] = str(changes[name]).replace("LARGE", large).replace("SMALL", small)
    other = changed(config, "refused", resume_ckpt=config.checkpoint, **values)
    with pytest.raises(ValueError, match=re.escape(message)):
        alone(other)


def test_the_overview_says_how_often_each_data_set_is_gone_through(
    config: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    alone(changed(config, "dry", dry_run=True))
    shown = capsys.readouterr().err
    assert "train      50 rows of 17 ids" in shown
    for part in ("70.00% of ", "large: 41 rows, 1.63 times in the run"):
        assert part in shown
    assert "30.00% of " in shown and "small: 9 rows, 3.22 times in the run" in shown


def test_data_behind_a_url_are_trained_as_local_ones(config: TrainConfig) -> None:
    folder, _, rest = config.train_data.partition(":")
    remote = fsspec.filesystem("memory")
    for file in Path(folder).iterdir():
        remote.pipe_file(f"/large/{file.name}", file.read_bytes())
    other = changed(config, "remote", train_data=f"memory://large:{rest}")
    alone(other)
    assert losses(Path(other.checkpoint)) == losses(Path(config.checkpoint))
