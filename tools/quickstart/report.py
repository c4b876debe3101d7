"""Read the metrics of the quickstart's run, show them, and fail unless the held-out loss fell.

python tools/quickstart/report.py quickstart_out/checkpoint/metrics.jsonl --svg loss.svg
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from loss_curve import draw_losses
from rich.console import Console

BARS = "▁▂▃▄▅▆▇█"


def read_metrics(path: Path) -> list[dict]:
    """Return the lines of a metrics file, each a dict that has at least "step"."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def points(metrics: Sequence[dict], name: str) -> list[tuple[float, float]]:
    """Return the (step, value) pairs of one metric."""
    return [(line["step"], line[name]) for line in metrics if name in line]


def sparkline(values: Sequence[float]) -> str:
    """Return one block character a value, the highest value as a full block."""
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0
    return "".join(BARS[round((value - low) * scale)] for value in values)


def report(metrics: Sequence[dict], console: Console) -> bool:
    """Print the run in a few lines; return whether the last held-out loss is below the first.

    Raises:
        ValueError: the metrics hold no training step, or less than two held-out losses.
    """
    trained, held_out = points(metrics, "loss"), points(metrics, "eval_loss")
    if not trained or len(held_out) < 2:
        found = f"{len(trained)} training losses and {len(held_out)} held-out losses"
        raise ValueError(f"found {found}, expected at least 1 and 2: did the training end?")
    (first, before), (last, after) = held_out[0], held_out[-1]
    losses = [loss for _, loss in trained]
    console.print(f"training loss   {losses[0]:.3f} {sparkline(losses)} {losses[-1]:.3f}")
    console.print(f"held-out loss   {before:.4f} at step {first}, {after:.4f} at step {last}")
    if speeds := [speed for _, speed in points(metrics, "tokens_per_second")]:
        console.print(f"speed           {median(speeds):,.0f} tokens/s (median)")
    return after < before


def main() -> int:
    """Run the command line and return its exit code: 1 when the held-out loss did not fall."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("metrics", type=Path, help="metrics.jsonl of the run")
    parser.add_argument("--svg", type=Path, help="draw the losses into this file")
    arguments = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    try:
        metrics = read_metrics(arguments.metrics)
        fell = report(metrics, console)
        if arguments.svg:
            picture = draw_losses(points(metrics, "loss"), points(metrics, "eval_loss"))
            arguments.svg.write_text(picture, encoding="utf-8")
            console.print(f"picture         {arguments.svg}")
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", markup=False)
        return 2
    if not fell:
        console.print("[red]The held-out loss did not fall: something is wrong.[/red]")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
