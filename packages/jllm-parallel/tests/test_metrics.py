"""The metrics file and what a person reads."""

import io
import json
from pathlib import Path

from rich.console import Console

from jllm.parallel.experts.load_balance import ExpertFigures
from jllm.parallel.training.metrics import MetricsFile, Reporter, expert_metrics

FIGURES = {
    "step": 1,
    "loss": 2.5,
    "learning_rate": 1e-4,
    "gradient_norm": 3.0,
    "tokens_per_second": 1234.0,
    "mfu": 0.25,
    "memory_bytes": 2**30,
}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_resumed_run_holds_each_step_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path, 0)
    for step in (1, 2, 3):
        file.write({"step": step, "loss": 1.0})
    file.close()
    path.write_text(path.read_text() + '{"step": 4, "lo')  # cut short by a crash
    file = MetricsFile(path, 2)
    file.write({"step": 3, "loss": 2.0})
    file.close()
    assert [(m["step"], m["loss"]) for m in lines(path)] == [(1, 1.0), (2, 1.0), (3, 2.0)]


def test_a_new_run_sets_the_metrics_of_another_aside(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for loss in (1.0, 2.0, 3.0):
        file = MetricsFile(path, 0)
        file.write({"step": 1, "loss": loss})
        file.close()
    kept = [path.with_name(n) for n in ("metrics.1.jsonl", "metrics.2.jsonl", "metrics.jsonl")]
    assert [lines(p)[0]["loss"] for p in kept] == [1.0, 2.0, 3.0]


def test_plain_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    text = io.StringIO()
    reporter = Reporter(
        tmp_path, first_step=0, total_steps=4, console=Console(file=text, width=200)
    )
    reporter.step(FIGURES, shown=True)
    reporter.evaluation(1, 2.25, 100)
    reporter.close()
    assert "step 1/4  loss 2.5000  lr 1.00e-04" in text.getvalue()
    assert "held-out loss after 1 steps: 2.2500" in text.getvalue()
    recorded = lines(tmp_path / "metrics.jsonl")
    assert recorded == [FIGURES, {"step": 1, "eval_loss": 2.25, "eval_tokens": 100}]
    assert list((tmp_path / "tensorboard").iterdir())


def test_use_of_experts_by_layer_in_the_file_and_at_a_glance_on_the_console(tmp_path: Path) -> None:
    loads = {1: (3, 1, 2, 2), 3: (0, 4, 4, 0)}
    figures = ExpertFigures(loads=loads, dropped=0, aux_loss=0.5, z_loss=0.25)
    text = io.StringIO()
    reporter = Reporter(
        tmp_path, first_step=0, total_steps=2, console=Console(file=text, width=200)
    )
    for step, shown in ((1, False), (2, True)):
        reporter.step(
            {**FIGURES, "step": step, **expert_metrics(figures, shown=shown)}, shown=shown
        )
    reporter.close()
    assert "experts 2.00×" in text.getvalue()
    brief = {"aux_loss": 0.5, "z_loss": 0.25, "expert_imbalance": 2.0, "expert_dropped": 0}
    whole = brief | {
        "expert_imbalance_by_layer": {"1": 1.5, "3": 2.0},
        "expert_loads": {"1": [3, 1, 2, 2], "3": [0, 4, 4, 0]},
    }
    recorded = lines(tmp_path / "metrics.jsonl")
    assert recorded == [{**FIGURES, "step": 1, **brief}, {**FIGURES, "step": 2, **whole}]
    assert expert_metrics(None, shown=True) == {}
