"""Data that a model cannot be trained on end the run before its first step."""

import dataclasses
import json
from pathlib import Path

import pytest
from rich.console import Console

from jllm.models.families import read_config
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.training.data_check import most_positions
from jllm.parallel.training.metrics import Reporter
from training_helpers import MAX_LEN, VOCABULARY, alone, metrics, untrain, write_data, write_model


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        model=str(write_model(tmp_path / "model", layers=1)),
        train_data=str(write_data(tmp_path / "data", 12)),
        global_batch_size=2,
        checkpoint=str(tmp_path / "run"),
        threads=1,
    )


def refused(config: TrainConfig) -> str:
    """What a run and a dry run say; neither takes a step."""
    said = []
    for dry in (True, False):
        with pytest.raises(ValueError) as error:
            alone(dataclasses.replace(config, dry_run=dry))
        said.append(str(error.value))
    assert said[0] == said[1] and not (Path(config.checkpoint) / "metrics.jsonl").exists()
    return said[0]


def test_a_step_without_a_trained_token_is_named_before_the_run(config: TrainConfig) -> None:
    step = untrain(Path(config.train_data), config, steps=[4])
    said = refused(config)
    assert said.startswith(f"--train_data: none of the 2 rows of step {step} has a trained token")
    assert "2 of all 12 rows have none" in said and "--skip_untrained_batches" in said


def test_rows_without_a_trained_token_that_no_step_is_made_of_are_trained(
    config: TrainConfig,
) -> None:
    untrain(Path(config.train_data), config, steps=[4])
    alone(dataclasses.replace(config, max_steps=3))
    alone(dataclasses.replace(config, global_batch_size=4, checkpoint=f"{config.checkpoint}_4"))


def test_skipped_steps_are_counted_and_said(
    config: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    untrain(Path(config.train_data), config, steps=[2, 5])
    alone(dataclasses.replace(config, skip_untrained_batches=True))
    lines = metrics(Path(config.checkpoint))
    skipped = [one for one in lines if "skipped_steps" in one]
    assert skipped == [{"step": 2, "skipped_steps": 1}, {"step": 5, "skipped_steps": 2}]
    assert [one["step"] for one in lines if "loss" in one] == [1, 3, 4, 6]
    said = capsys.readouterr().err
    assert "step 5: no trained token in its global batch, no weight changed" in said
    assert "(steps skipped so far: 2)" in said


def test_a_resumed_run_goes_on_counting_skipped_steps(tmp_path: Path) -> None:
    for first, expected in ((0, 1), (3, 2)):
        reporter = Reporter(tmp_path, first_step=first, total_steps=9, console=Console(quiet=True))
        reporter.skipped(first + 1)
        reporter.close()
        assert metrics(tmp_path)[-1]["skipped_steps"] == expected


def test_a_document_longer_than_the_models_positions_is_refused(config: TrainConfig) -> None:
    path = Path(config.model) / "config.json"
    change(path, max_position_embeddings=8)
    said = refused(config)
    assert f"--train_data {config.train_data}: its longest document has " in said
    assert "--max_len 9" in said and "raise max_position_embeddings in its config.json" in said
    longest = int(said.split(" has ")[1].split()[0])
    assert 8 < longest < MAX_LEN
    change(path, max_position_embeddings=longest)  # below max_len - 1: rows may be longer
    alone(config)


def test_a_rotation_that_stretches_with_the_document_sets_no_limit(config: TrainConfig) -> None:
    model = read_config(Path(config.model))
    assert most_positions(model) == 64
    assert model.rope is not None
    dynamic = dataclasses.replace(model.rope, type="dynamic", original_max_position_embeddings=64)
    assert most_positions(dataclasses.replace(model, rope=dynamic)) is None
    later = dataclasses.replace(dynamic, outside_training=True)
    assert most_positions(dataclasses.replace(model, rope=later)) == 64
    assert most_positions(dataclasses.replace(model, rope=None)) is None


def test_tokens_beyond_the_vocabulary_are_refused(config: TrainConfig) -> None:
    info = Path(config.train_data) / "data_info.json"
    change(info, document_end_id=VOCABULARY)
    said = refused(config)
    assert f"has the token {VOCABULARY}, the model a vocabulary of {VOCABULARY}: convert" in said
    change(info, document_end_id=VOCABULARY - 1)
    change(Path(config.model) / "config.json", vocab_size=30)
    assert "the model a vocabulary of 30" in refused(config)
