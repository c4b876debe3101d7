"""A run goes on from its checkpoint on any other layout, with the same samples."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from held_train_helpers import STEP
from jllm.parallel.config.config import TrainConfig
from training_helpers import (
    alone,
    changed,
    checkpoint_bytes,
    losses,
    metrics,
    train,
    write_data,
    write_model,
)

STEPS = 14
DEADLINE = 600
"""Seconds for torchrun and two processes to start; an idle machine takes about ten."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run on one process that has saved after 6 steps and at its end."""
    folder = tmp_path_factory.mktemp("layouts")
    values = TrainConfig(
        model=str(write_model(folder / "model")),
        train_data=str(write_data(folder / "data", 61)),
        num_train_epochs=2,
        max_steps=STEPS,
        learning_rate=1e-3,
        weight_decay=0.1,
        checkpoint=str(folder / "one"),
        steps_per_checkpoint=6,
        threads=1,
    )
    alone(values)
    return values


@pytest.mark.parametrize(("stages", "replicas"), [(2, 1), (1, 2), (2, 2)])
def test_resuming_on_another_layout(config: TrainConfig, stages: int, replicas: int) -> None:
    other = changed(
        config,
        f"{stages}x{replicas}",
        pipe_parallel_size=stages,
        resume_ckpt=config.checkpoint,
        tag="6",
    )
    train(stages * replicas, other)
    left = losses(Path(config.checkpoint))[6:]
    assert losses(Path(other.checkpoint)) == pytest.approx(left, rel=1e-6)
    if replicas == 1:
        assert losses(Path(other.checkpoint)) == left
        whole = checkpoint_bytes(Path(config.checkpoint), STEPS)
        assert checkpoint_bytes(Path(other.checkpoint), STEPS) == whole


def start_pipeline(run: TrainConfig) -> subprocess.Popen:
    """Start a run of two processes by torchrun and wait until it stands still after a step."""
    flags = [
        f"--{name}={value}"
        for name, value in vars(run).items()
        if value != getattr(TrainConfig(model=""), name)
    ]
    command = "torch.distributed.run --standalone --nproc_per_node 2 -m held_train_helpers"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "HELD_UNTIL": str(go_on(run)),
    }
    process = subprocess.Popen([sys.executable, "-m", *command.split(), *flags], env=environment)
    lines = Path(run.checkpoint) / "metrics.jsonl"
    deadline = time.monotonic() + DEADLINE
    while not lines.exists() or lines.read_text().count("\n") < STEP:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    return process


def go_on(run: TrainConfig) -> Path:
    """The file that lets a run go on."""
    return Path(run.checkpoint).with_name("go on")


def test_a_pipeline_that_torchrun_lost_goes_on_alone(config: TrainConfig) -> None:
    run = changed(config, "lost", pipe_parallel_size=2, steps_per_checkpoint=2)
    kept = Path(run.checkpoint)
    process = start_pipeline(run)
    assert (kept / "latest").exists()
    everyone = [*psutil.Process(process.pid).children(recursive=True), process]
    for one in everyone:
        one.kill()
    for one in everyone:
        one.wait()
    assert [path.name for path in kept.iterdir() if path.name.isdecimal()] == ["2"]
    alone(changed(run, "lost", pipe_parallel_size=1, resume_ckpt=run.checkpoint))
    assert [m["step"] for m in metrics(kept)] == list(range(1, STEPS + 1))
    assert losses(kept) == losses(Path(config.checkpoint))
    assert checkpoint_bytes(kept, STEPS) == checkpoint_bytes(Path(config.checkpoint), STEPS)


def test_sigterm_to_every_process_of_a_pipeline_saves(config: TrainConfig) -> None:
    run = changed(config, "stopped", pipe_parallel_size=2, steps_per_checkpoint=-1)
    kept = Path(run.checkpoint)
    process = start_pipeline(run)
    for one in psutil.Process(process.pid).children(recursive=True):
        if "held_train_helpers" in one.cmdline():
            one.send_signal(signal.SIGTERM)
    go_on(run).touch()
    process.wait()
    (saved,) = (int(p.name) for p in kept.iterdir() if p.name.isdecimal())
    assert STEP <= saved < STEPS
    alone(changed(run, "stopped", pipe_parallel_size=1, resume_ckpt=run.checkpoint))
    assert losses(kept) == losses(Path(config.checkpoint))
