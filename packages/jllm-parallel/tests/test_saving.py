"""A run that would end without saving anything says so before it starts."""

import dataclasses
from pathlib import Path

import pytest

from jllm.parallel.config.checks import problems
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.config.implied import with_implied
from jllm.parallel.training.overview import saves_line

RUN = TrainConfig(model="m", train_data="d")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "what is trained would be lost: give --checkpoint"),
        ({"dry_run": True}, "what is trained would be lost: give --checkpoint"),
        ({"no_save": True, "checkpoint": "c"}, "--no_save and --checkpoint exclude each other"),
        ({"no_save": True, "output_dir": "o"}, "--no_save and --output_dir exclude each other"),
    ],
)
def test_nothing_is_trained_in_vain(changes: dict, said: str) -> None:
    (found,) = problems(dataclasses.replace(RUN, **changes), 1)
    assert said in found


@pytest.mark.parametrize(
    "changes",
    [
        {"no_save": True},
        {"checkpoint": "c"},
        {"output_dir": "o"},
        {"num_train_epochs": 0, "eval_data": "e"},
    ],
)
def test_a_run_that_saves_or_need_not_is_right(changes: dict) -> None:
    assert not list(problems(dataclasses.replace(RUN, **changes), 1))


def test_a_run_that_is_resumed_saves_where_it_did(tmp_path: Path) -> None:
    def implied(path: Path, **changes: object) -> str:
        return with_implied(dataclasses.replace(RUN, resume_ckpt=str(path), **changes)).checkpoint

    folder = tmp_path / "run"
    for name in ("20", "copy"):
        (folder / name).mkdir(parents=True)
        (folder / name / "manifest.json").touch()
    assert implied(folder) == implied(folder / "20") == str(folder)
    assert implied(folder / "copy") == ""
    assert implied(folder, checkpoint="c") == "c"
    assert implied(folder, no_save=True) == ""
    assert implied(folder, num_train_epochs=0) == ""


def test_the_overview_says_what_is_saved_and_when() -> None:
    kept = dataclasses.replace(RUN, checkpoint="run", steps_per_checkpoint=5, output_dir="o")
    said = saves_line(kept)
    assert said == "checkpoints in run every 5 steps and at the end, the final model in o"
    assert saves_line(dataclasses.replace(RUN, no_save=True)) == "nothing"
