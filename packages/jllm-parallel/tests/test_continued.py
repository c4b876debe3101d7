"""What a run that is resumed takes from its checkpoint's run, and what it says of it."""

import dataclasses
import json
from pathlib import Path

import pytest

from checkpoint_helpers import STATE, contents
from jllm.parallel.checkpoint.group import SingleProcess
from jllm.parallel.checkpoint.save import save_checkpoint
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.config.continued import continued
from jllm.parallel.config.flags.free import COMPARED_BY_CONTENT, FREE
from jllm.parallel.training.start import prepared

RUN = TrainConfig(model="m", train_data="d", learning_rate=1e-2, max_steps=20, seed=5)
BEFORE = dataclasses.asdict(RUN)
BARE = TrainConfig(model="m", resume_ckpt="run")


def test_the_table_of_free_flags_names_flags_once_each() -> None:
    named = [flag for group in FREE for flag in group.flags]
    assert len(named) == len(set(named))
    assert {*named, *COMPARED_BY_CONTENT} <= {f.name for f in dataclasses.fields(TrainConfig)}
    assert all(group.reason for group in FREE)


def test_what_was_not_typed_is_the_checkpoints() -> None:
    got, said = continued(BARE, BEFORE, {"model", "resume_ckpt"})
    assert got == dataclasses.replace(RUN, resume_ckpt="run")
    assert said == [
        "--train_data d, as in the checkpoint's run",
        "--seed 5, as in the checkpoint's run",
        "--learning_rate 0.01, as in the checkpoint's run",
        "--max_steps 20, as in the checkpoint's run",
    ]


def test_what_was_typed_stays_and_its_difference_is_said() -> None:
    typed = dataclasses.replace(RUN, max_steps=30, train_data="elsewhere", dtype="bfloat16")
    for names in (None, {"model", "max_steps", "train_data", "dtype"}):
        got, said = continued(typed, BEFORE, names)
        assert got == typed
        assert said == [
            "--max_steps 30; the checkpoint's run had 20",
            "--dtype bfloat16; the checkpoint's run had auto",
        ]


def test_layout_is_free_and_said_housekeeping_is_free_and_not() -> None:
    before = BEFORE | {"pipe_parallel_size": 4, "threads": 3, "checkpoint": "there", "init": True}
    got, said = continued(RUN, before, ())
    assert got == RUN
    assert said == ["--pipe_parallel_size 1; the checkpoint's run had 4"]


def test_a_flag_that_the_checkpoints_run_did_not_know_was_at_its_default() -> None:
    before = {name: value for name, value in BEFORE.items() if name != "weight_decay"}
    typed = dataclasses.replace(RUN, weight_decay=0.1)
    _, said = continued(typed, before, None)
    assert said == ["--weight_decay 0.1; the checkpoint's run had 0.0"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of steps 1, 2 and 3, the last without its manifest, and a save cut short."""
    state = {**STATE, "flags": BEFORE}
    for step in (1, 2, 3):
        saved = dataclasses.replace(contents(step), state={"step": step, **state})
        save_checkpoint(tmp_path / "run", saved, SingleProcess())
    (tmp_path / "run" / "3" / "manifest.json").unlink()
    (tmp_path / "run" / ".tmp-save-4-0123abcd").mkdir()
    return tmp_path / "run"


@pytest.mark.parametrize("flag", ["resume_ckpt", "from_ckpt"])
def test_the_checkpoint_is_named_and_so_are_newer_ones_that_cannot_be_used(
    flag: str, folder: Path
) -> None:
    config, said = dataclasses.replace(BARE, **({"resume_ckpt": ""} | {flag: str(folder)})), []
    got = prepared(config, {"model", flag}, said.append)
    does = "continues" if flag == "resume_ckpt" else "takes the weights of"
    assert said[0] == f"{does} {folder / '2'}, 2 steps on"
    assert said[1] == (
        f"passed over: {folder / '.tmp-save-4-0123abcd'}: the save of step 4 did not come to its "
        "end"
    )
    assert said[2] == f"passed over: {folder / '3'}: has no manifest.json, so it is not complete"
    assert len(said) == (7 if flag == "resume_ckpt" else 3)
    assert (got.seed, got.checkpoint) == ((5, str(folder)) if does == "continues" else (1234, ""))


def test_older_ones_and_a_checkpoint_named_itself_give_no_note(folder: Path) -> None:
    (folder / "1" / "manifest.json").unlink()
    said: list[str] = []
    prepared(dataclasses.replace(RUN, from_ckpt=str(folder / "2")), None, said.append)
    assert said == [f"takes the weights of {folder / '2'}, 2 steps on"]


def test_writing_a_model_without_training_takes_no_setting(folder: Path) -> None:
    config = dataclasses.replace(BARE, resume_ckpt=str(folder), num_train_epochs=0)
    assert prepared(config, {"model"}, lambda _: None) == config
    assert json.loads((folder / "2/trainer/state.json").read_text())["flags"] == BEFORE
