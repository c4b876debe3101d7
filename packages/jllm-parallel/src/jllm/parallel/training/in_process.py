"""`jllm.parallel.train`: a training run in this process, which is usable afterwards."""

from __future__ import annotations

import dataclasses
import functools
import io
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console

from jllm.data.runtime.kept_report import PrintedReport
from jllm.data.runtime.keywords import accepts, config_of, keywords_in_errors
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.config.layout import layout
from jllm.parallel.distributed.launch import Launch
from jllm.parallel.training.folders import log_folder
from jllm.parallel.training.job import JobResult, run_job
from jllm.parallel.training.raw_data import with_converted_data
from jllm.parallel.training.start import planned, prepared


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class TrainReport(PrintedReport):
    """What `train` did; prints itself."""

    steps: int
    """Optimizer steps of the run so far, those before a checkpoint was resumed among them."""
    loss: float | None
    """Mean token loss of the last step; None where none was taken."""
    eval_loss: float | None
    """The last held-out loss; None without `eval_data`."""
    checkpoint: Path | None
    """The last checkpoint that was saved: a model directory."""
    ended: bool
    """Whether it came to the end; else it was interrupted, and saved where it could."""
    metrics: Path
    """A JSON line for each step; written where anything was trained or evaluated."""


@accepts(TrainConfig)
def train(
    model: str | os.PathLike[str],
    train_data: str | os.PathLike[str] = "",
    *,
    console: Console | None = None,
    **flags: Any,
) -> TrainReport:
    """Train as `python -m jllm.train_pipe` does, in this process, with the same result.

    `flags` are those of that command: `checkpoint`, `max_steps`, `learning_rate`, …; its --help
    explains them. `console`: where the run is reported; None is silent. Interrupting it lets the
    current step end and saves. Afterwards signals, threads, locks and process groups are as they
    were before. From another thread than the main one signals are left alone.

    In a process of several (torchrun, or an initialised torch.distributed) all of them call it.
    After an error there, start the processes again.

    ValueError names the keyword, or the file that is wrong; OSError a file that cannot be read or
    written.
    """
    if "config" in flags:
        raise ValueError("config: is for the command line; give the keys of the file as keywords")
    launch, threads = _launch(), torch.get_num_threads()
    quiet = Console(file=io.StringIO(), quiet=True, force_terminal=False, force_jupyter=False)
    try:
        with keywords_in_errors(TrainConfig):
            given = {"model": model, "train_data": train_data}
            chosen = {name for name, value in (given | flags).items() if value != ""}
            shown = console if console and launch.rank == 0 else quiet
            say = functools.partial(shown.print, markup=False)
            config = prepared(config_of(TrainConfig, given | flags), chosen, say)
            launch = planned(config, launch)
            layout(config, launch.world_size)
            config = with_converted_data(config, launch, console or quiet)
            result = run_job(config, launch, console or quiet)
    finally:
        torch.set_num_threads(threads)
    return TrainReport(
        text=_text(config, result),
        metrics=log_folder(config) / "metrics.jsonl",
        **dataclasses.asdict(result),
    )


def _launch() -> Launch:
    """Return this process's place: that of torch.distributed where it was initialised before."""
    launch = Launch.from_environment()
    if not dist.is_initialized():
        return launch
    return dataclasses.replace(launch, rank=dist.get_rank(), world_size=dist.get_world_size())


def _text(config: TrainConfig, result: JobResult) -> str:
    parts = [f"{result.steps:,} steps" + ("" if result.ended else " (interrupted)")]
    if result.loss is not None:
        parts.append(f"last loss {result.loss:.4f}")
    if result.eval_loss is not None:
        parts.append(f"held-out loss {result.eval_loss:.4f}")
    if result.checkpoint is not None:
        parts.append(f"checkpoint {result.checkpoint}")
    if config.output_dir and result.ended and not config.dry_run:
        parts.append(f"model {config.output_dir}")
    return ", ".join(parts)
