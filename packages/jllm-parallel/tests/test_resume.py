"""A run that was interrupted goes on as if it had not been."""

import functools
import itertools
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from jllm.parallel.config.config import TrainConfig
from jllm.parallel.training.command import STOPPED
from jllm.parallel.training.folders import lock
from training_helpers import (
    alone,
    changed,
    checkpoint_bytes,
    losses,
    metrics,
    run_and_signal,
    run_in_child,
    write_data,
    write_model,
)

STEPS = 20
KILLS = 50


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run of 20 steps over 3 epochs that was never interrupted."""
    folder = tmp_path_factory.mktemp("resume")
    values = TrainConfig(
        model=str(write_model(folder / "model")),
        train_data=str(write_data(folder / "data", 61)),
        num_train_epochs=3,
        max_steps=STEPS,
        num_warmup_steps=0.2,
        learning_rate=1e-2,
        weight_decay=0.1,
        checkpoint=str(folder / "whole"),
        threads=1,
    )
    alone(values)
    return values


def figures(config: TrainConfig) -> list[tuple[float, ...]]:
    """What of a run must not depend on interruptions, step by step."""
    keys = ("step", "loss", "learning_rate", "gradient_norm")
    lines = [m for m in metrics(Path(config.checkpoint)) if "loss" in m]
    return [tuple(m[key] for key in keys) for m in lines]


def assert_same_run(config: TrainConfig, other: TrainConfig) -> None:
    assert len(figures(config)) == STEPS
    assert figures(other) == figures(config)
    whole, resumed = (checkpoint_bytes(Path(c.checkpoint), STEPS) for c in (config, other))
    assert resumed == whole
    states = [
        json.loads((Path(c.checkpoint) / str(STEPS) / "trainer/state.json").read_text())
        for c in (config, other)
    ]
    for state in states:
        del state["flags"]
    assert states[0] == states[1]


def test_ten_steps_a_kill_and_ten_more_are_twenty(config: TrainConfig) -> None:
    run = changed(config, "killed", steps_per_checkpoint=10)
    assert run_and_signal(run, 12) == -signal.SIGKILL
    assert (Path(run.checkpoint) / "10").is_dir()
    assert not (Path(run.checkpoint) / str(STEPS)).exists()
    alone(changed(run, "killed", resume_ckpt=run.checkpoint))
    assert_same_run(config, run)


def kill_before_effect(number: int) -> None:
    """Makes this process kill itself before its `number`-th effect inside a save.

    Effects are what `sys.audit` tells: a file is opened, a folder made, renamed or removed.
    """
    left = itertools.count(number, -1)

    def count(_event: str, arguments: tuple[object, ...]) -> None:
        if arguments and ".tmp-save" in str(arguments[0]) and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def test_fifty_kills_at_random_moments_change_nothing(config: TrainConfig) -> None:
    """Half of them after some time of its own processor, half before some effect of a save."""
    random = np.random.default_rng(0)
    run = changed(config, "fifty", steps_per_checkpoint=2, max_num_checkpoints=3)
    kills, saving, kept = 0, 0, Path(run.checkpoint)
    while kills < KILLS:
        if (kept / str(STEPS)).exists():  # it came to the end between the kills: again
            assert_same_run(config, run)
            shutil.rmtree(kept)
        step = changed(run, "fifty", resume_ckpt=resumable(kept))
        if kills % 2:
            kill = functools.partial(kill_before_effect, int(random.integers(120)))
        else:  # SIGPROF ends a process as SIGKILL does
            seconds = random.uniform(0.02, 0.6)
            kill = functools.partial(signal.setitimer, signal.ITIMER_PROF, seconds)
        ended = run_in_child(step, kill)
        assert ended in (0, -signal.SIGKILL, -signal.SIGPROF)
        kills += ended != 0
        saving += any(kept.glob(".tmp-save*"))
    assert saving >= KILLS // 4
    if not (kept / str(STEPS)).exists():
        alone(changed(run, "fifty", resume_ckpt=resumable(kept)))
    assert_same_run(config, run)


def resumable(folder: Path) -> str:
    """The folder if it holds a checkpoint."""
    found = folder.is_dir() and any(path.name.isdecimal() for path in folder.iterdir())
    return str(folder) if found else ""


def test_sigterm_saves_and_says_so(config: TrainConfig) -> None:
    run = changed(config, "stopped")
    assert run_and_signal(run, 3, signal.SIGTERM) == STOPPED
    (saved,) = (p for p in Path(run.checkpoint).iterdir() if p.name.isdecimal())
    assert 3 <= int(saved.name) <= 5
    alone(changed(run, "stopped", resume_ckpt=run.checkpoint))
    assert_same_run(config, run)


def test_another_seed_batch_or_data_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    resumed = changed(config, "x", resume_ckpt=config.checkpoint)
    for change, flag in (
        ({"seed": 5}, "--seed"),
        ({"global_batch_size": 4}, "--global_batch_size"),
        ({"train_data": str(write_data(tmp_path / "other", 62))}, "--train_data"),
        ({"no_shuf": True}, "--no_shuf"),
    ):
        with pytest.raises(ValueError, match=f"{flag}.*this one has"):
            alone(changed(resumed, "x", **change))


def test_a_flipped_bit_in_a_checkpoint_is_found(config: TrainConfig, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(config.checkpoint, tmp_path / "copy"))
    file = copy / str(STEPS) / "trainer" / "exp_avg.safetensors"
    data = bytearray(file.read_bytes())
    data[-100] ^= 4
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"exp_avg\.safetensors"):
        alone(changed(config, "y", resume_ckpt=str(copy), max_steps=25))


def test_a_new_run_does_not_write_among_the_checkpoints_of_another(config: TrainConfig) -> None:
    with pytest.raises(ValueError, match="holds the checkpoints of another run"):
        alone(config)


def test_two_runs_cannot_write_to_one_folder(config: TrainConfig) -> None:
    run = changed(config, "twice", log_dir=str(Path(config.checkpoint).with_name("twice_log")))
    for folder in (run.checkpoint, run.log_dir):
        with lock(Path(folder)), pytest.raises(ValueError, match="another run is writing"):
            alone(run)


def test_losses_fall(config: TrainConfig) -> None:
    found = losses(Path(config.checkpoint))
    assert sum(found[-5:]) < sum(found[:5])
