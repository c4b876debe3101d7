"""Step, loss, tokens a second and time left can be read on every terminal, and stay there."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from jllm.parallel.training import step_display
from jllm.parallel.training.metrics import Reporter

FIGURES = {
    "loss": 12.34567,
    "learning_rate": 1e-4,
    "gradient_norm": 123.456,
    "tokens_per_second": 12_345_678.0,
    "mfu": 0.4321,
    "memory_bytes": 123 * 2**30,
    "expert_imbalance": 12.34,
}
TOTAL = 1_000_000
SHOWN = ("loss 12.3457", "lr 1.00e-04", "norm 123.456", "MFU 43.2%", "123.00 GiB", "experts 12.34×")


def shown(
    folder: Path, width: int, *, terminal: bool, steps: tuple[int, ...] = (999_998, 999_999)
) -> str:
    """Everything that was written while these steps were done, without escape sequences."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, soft_wrap=True)
    reporter = Reporter(folder, first_step=999_000, total_steps=TOTAL, console=console)
    for step in steps:
        reporter.step({"step": step, **FIGURES}, shown=True)
    reporter.close()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())


def history(text: str, step: int) -> str:
    """The line of a step that is done: the one without a bar or a clock."""
    lines = re.split(r"[\r\n]+", text)
    found = [one for one in lines if one.startswith(f"step {step}/{TOTAL}") and "after" not in one]
    return next(one for one in found if "━" not in one)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_four_that_matter_are_whole_on_the_line_of_every_step(
    tmp_path: Path, width: int
) -> None:
    text = shown(tmp_path, width, terminal=True)
    for step in (999_998, 999_999):
        line = history(text, step)
        assert len(line) <= width
        assert "  loss 12.3457  " in line and re.search(r"  left \d+:\d\d:\d\d$", line)
        assert "  12,345,678 tokens/s  " in line or "  12.3M tok/s  " in line
        there = [one in line for one in SHOWN]
        assert there == sorted(there, reverse=True)  # the last go first
        assert sum(there) == {60: 1, 80: 1, 120: 5, 200: 6}[width]
    assert max(len(line) for line in re.split(r"[\r\n]+", text)) <= width


def test_a_terminal_of_30_columns_takes_more_lines(tmp_path: Path) -> None:
    text = shown(tmp_path, 30, terminal=True)
    assert re.search(r"step 999998/1000000\s+loss 12\.3457\s+12\.3M tok/s\s+left \d", text)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_file_has_no_width_and_gets_everything(tmp_path: Path, width: int) -> None:
    lines = shown(tmp_path, width, terminal=False).splitlines()
    assert len(lines) == 2
    for line in lines:
        assert all(one in line for one in (*SHOWN, "12,345,678 tokens/s", "left "))


@pytest.mark.parametrize("terminal", [True, False])
def test_the_last_step_is_shown_whatever_steps_per_print_says(
    tmp_path: Path, terminal: bool
) -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=terminal)
    reporter = Reporter(tmp_path, first_step=0, total_steps=TOTAL, console=console)
    for step in (TOTAL - 1, TOTAL):
        reporter.step({"step": step, **FIGURES}, shown=False)
    reporter.close()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert history(text, TOTAL)
    if not terminal:
        assert f"step {TOTAL - 1}/" not in text


def test_more_than_a_day_is_counted_in_hours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 10**9, 86_400 * 2))
    monkeypatch.setattr(step_display.time, "monotonic", lambda: next(now))
    out = io.StringIO()
    reporter = Reporter(tmp_path, first_step=0, total_steps=2, console=Console(file=out))
    reporter.step({"step": 1, **FIGURES}, shown=True)
    reporter.close()
    assert out.getvalue().endswith("left 48:00:00\n")
