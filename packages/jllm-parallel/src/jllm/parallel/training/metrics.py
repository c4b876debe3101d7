"""What a run reports: one JSON line a step, TensorBoard where it is installed, a person's console.

Only one process of a job makes these. A resumed run drops the lines of steps that it will repeat,
so the file holds each step once.
"""

import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from jllm.parallel.experts.load_balance import ExpertFigures
from jllm.parallel.training.folders import METRICS
from jllm.parallel.training.multi_token_prediction import PredictionFigures
from jllm.parallel.training.step_display import StepDisplay


class MetricsFile:
    """`metrics.jsonl`: {"step": …, "loss": …, …} after each step, {"step": …, "eval_loss": …} after
    each evaluation."""

    def __init__(self, path: Path, first_step: int) -> None:
        """Open the file for appending, without lines of steps after `first_step` steps.

        With no step done this is another run: the file of the one before is kept as
        `metrics.<n>.jsonl`.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not first_step:
            _set_aside(path)
        elif path.exists():
            kept = "".join(
                line + "\n" for line in path.read_text().splitlines() if _step(line) <= first_step
            )
            temporary = path.with_suffix(".tmp")
            temporary.write_text(kept)
            os.replace(temporary, path)
        self._path = path
        self._file = path.open("a")

    def removed(self) -> bool:
        """Return whether somebody has removed the file; if so it is made again, without the lines
        that were lost."""
        if os.fstat(self._file.fileno()).st_nlink:
            return False
        self._file.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a")
        return True

    def write(self, values: Mapping[str, Any]) -> None:
        """Append one line and hand it to the operating system."""
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _skipped_before(path: Path) -> int:
    """Read how many steps were skipped so far, from the lines that are kept."""
    lines = path.read_text().splitlines() if path.exists() else []
    return sum('"skipped_steps"' in line for line in lines)


def _set_aside(path: Path) -> None:
    taken = (path.with_suffix(f".{n}.jsonl") for n in itertools.count(1))
    path.rename(next(name for name in taken if not name.exists()))


def _step(line: str) -> float:
    """Read a line's step; a line cut short by a crash belongs to no step."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")


def tensorboard_writer(folder: Path, first_step: int) -> Any | None:
    """Open TensorBoard's event file, or gives None where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=first_step + 1 if first_step else None)


def expert_metrics(figures: ExpertFigures | None, *, shown: bool) -> dict[str, Any]:
    """Return what is recorded of the experts: nothing of a model without; by expert if `shown`."""
    if figures is None:
        return {}
    imbalance = {str(layer): ratio for layer, ratio in figures.imbalance.items()}
    values: dict[str, Any] = {
        "aux_loss": figures.aux_loss,
        "z_loss": figures.z_loss,
        "expert_imbalance": max(imbalance.values()),
        "expert_dropped": figures.dropped,
    }
    if shown:
        values["expert_imbalance_by_layer"] = imbalance
        values["expert_loads"] = {str(layer): list(x) for layer, x in figures.loads.items()}
    return values


def prediction_metrics(figures: PredictionFigures | None) -> dict[str, float]:
    """Return the loss of each module of multi-token prediction, where they are trained."""
    losses = figures.losses if figures else ()
    return {f"mtp_loss_{ahead}": loss for ahead, loss in enumerate(losses, start=1)}


class Reporter:
    """Tells a person and the files how the run goes."""

    def __init__(
        self, folder: Path, *, first_step: int, total_steps: int, console: Console | None = None
    ) -> None:
        """Open the files and start the display.

        Args:
            folder: where `metrics.jsonl` and TensorBoard's `tensorboard/` go.
            first_step: steps done before, for a run that resumes.
            total_steps: steps of the whole run.
            console: where to write; standard error if None.
        """
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._folder = folder
        self._file = MetricsFile(folder / METRICS, first_step)
        self._board = tensorboard_writer(folder / "tensorboard", first_step)
        self._skipped = _skipped_before(folder / METRICS)
        self._steps = StepDisplay(self.console, first_step=first_step, total_steps=total_steps)

    def say(self, text: str) -> None:
        """Print a line above the moving one."""
        self.console.print(text, markup=False)

    def step(self, values: Mapping[str, Any], *, shown: bool) -> None:
        """Record the figures of one optimizer step."""
        self._record(values)
        self._steps.step(values, shown=shown)

    def skipped(self, step: int) -> None:
        """Record a step that was passed over, without a figure but how many there were so far."""
        self._skipped += 1
        self._record({"step": step, "skipped_steps": self._skipped})
        self.say(
            f"step {step}: no trained token in its global batch, no weight changed "
            f"(steps skipped so far: {self._skipped:,})"
        )

    def evaluation(self, step: int, loss: float, tokens: int) -> None:
        """Record a held-out loss."""
        self._record({"step": step, "eval_loss": loss, "eval_tokens": tokens})
        text = f"held-out loss after {step} steps: {loss:.4f}  ({tokens:,} trained tokens)"
        self.console.print(text, markup=False, soft_wrap=not self.console.is_terminal)

    def _record(self, values: Mapping[str, Any]) -> None:
        if self._file.removed():
            self.say(f"{self._folder}: was removed; metrics before step {values['step']} are lost")
        self._file.write(values)
        if self._board is not None:
            for name, value in values.items():
                if name != "step":
                    self._draw(name, value, values["step"])

    def _draw(self, name: str, value: Any, step: int) -> None:
        """Write to TensorBoard a number, what a mapping holds by name, a list as a histogram."""
        assert self._board is not None
        if isinstance(value, Mapping):
            for part, inner in value.items():
                self._draw(f"{name}/{part}", inner, step)
        elif isinstance(value, list):
            self._board.add_histogram(name, np.array(value), step)
        else:
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """End the display and close the files."""
        self._steps.close()
        self._file.close()
        if self._board is not None:
            self._board.close()
