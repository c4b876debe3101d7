"""Drawing a timeline as a Gantt chart in SVG, written as text without a drawing library.

python -m jllm.parallel.schedule.draw --schedule 1f1b --stages 4 --micro_batches 8 -o 1f1b.svg
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from xml.sax.saxutils import escape

from jllm.parallel.schedule.check import check
from jllm.parallel.schedule.generators import GENERATORS
from jllm.parallel.schedule.simulate import simulate, stage_durations
from jllm.parallel.schedule.timeline import Span, Timeline

WIDTH, ROW, BAR, LEFT, TOP, MARGIN = 960, 38, 30, 72, 64, 16
FILL = {"F": "#9ecae1", "B": "#fdbe85"}
EDGE = {"F": "#3182bd", "B": "#e6550d"}
LABEL = {"F": "forward", "B": "backward"}
INK, QUIET, IDLE = "#222222", "#555555", "#f0f0f0"
SMALLEST_NUMBERED = 11.0
"""Width of the narrowest bar, in pixels, that shows the number of its micro-batch."""


def draw(timeline: Timeline) -> str:
    """Return the SVG of `timeline`: a row per rank, a bar per action, numbered by micro-batch."""
    scale = (WIDTH - LEFT - MARGIN) / timeline.step_time
    bottom = TOP + ROW * len(timeline.ranks)
    parts = [_head(timeline, bottom)]
    for rank, spans in enumerate(timeline.ranks):
        y = TOP + ROW * rank
        parts.append(_text(MARGIN, y + BAR / 2 + 4, f"rank {rank}", 12, INK))
        parts.append(_box(LEFT, y, WIDTH - LEFT - MARGIN, BAR, IDLE, "none"))
        parts += [_bar(span, (span.start - timeline.start) * scale, y, scale) for span in spans]
    parts.append(_legend(timeline, bottom))
    return "\n".join([*parts, "</svg>", ""])


def _head(timeline: Timeline, bottom: int) -> str:
    title = (
        f"{timeline.name}: {len(timeline.ranks)} ranks, "
        f"{len({span.action.micro_batch for span in timeline.ranks[0]})} micro-batches"
    )
    subtitle = f"step {_seconds(timeline.step_time)}, bubble {timeline.bubble:.1%}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + 44}" '
            f'viewBox="0 0 {WIDTH} {bottom + 44}" font-family="sans-serif" role="img">',
            f"<title>{escape(title)}</title>",
            _box(0, 0, WIDTH, bottom + 44, "#ffffff", "none"),
            _text(MARGIN, 28, title, 17, INK, weight="bold"),
            _text(MARGIN, 48, subtitle, 13, QUIET),
        ]
    )


def _bar(span: Span, x: float, y: float, scale: float) -> str:
    kind, width = span.action.kind, (span.end - span.start) * scale
    tip = f"{span.action}: {_seconds(span.end - span.start)}"
    bar = _box(LEFT + x, y, width, BAR, FILL[kind], EDGE[kind], tip)
    if width < SMALLEST_NUMBERED:
        return bar
    middle = LEFT + x + width / 2
    number = str(span.action.micro_batch)
    return bar + "\n" + _text(middle, y + BAR / 2 + 4, number, 11, INK, anchor="middle")


def _legend(timeline: Timeline, bottom: int) -> str:
    y = bottom + 14
    drawn = {span.action.kind for spans in timeline.ranks for span in spans}
    entries = [(LABEL[kind], FILL[kind], EDGE[kind]) for kind in LABEL if kind in drawn]
    parts = []
    for i, (label, fill, edge) in enumerate([*entries, ("idle", IDLE, "#bbbbbb")]):
        parts.append(_box(LEFT + 100 * i, y, 14, 14, fill, edge))
        parts.append(_text(LEFT + 100 * i + 20, y + 11, label, 12, INK))
    held = ", ".join(map(str, timeline.peak_live))
    note = f"micro-batches held at most, by rank: {held}"
    parts.append(_text(WIDTH - MARGIN, y + 11, note, 12, QUIET, anchor="end"))
    return "\n".join(parts)


def _box(
    x: float, y: float, width: float, height: float, fill: str, stroke: str, tip: str = ""
) -> str:
    shape = (
        f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" '
        f'fill="{fill}" stroke="{stroke}"'
    )
    return f"{shape}><title>{escape(tip)}</title></rect>" if tip else f"{shape}/>"


def _text(
    x: float,
    y: float,
    text: str,
    size: int,
    fill: str,
    *,
    anchor: str = "start",
    weight: str = "normal",
) -> str:
    return (
        f'<text x="{x:.2f}" y="{y:.2f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"


def main(arguments: list[str] | None = None) -> None:
    """Simulate a schedule and write its picture, as the command above does."""
    parser = argparse.ArgumentParser(description="Draw a pipeline schedule as an SVG picture.")
    parser.add_argument("--schedule", choices=sorted(GENERATORS), default="1f1b")
    parser.add_argument("--stages", type=int, default=4)
    parser.add_argument("--micro_batches", type=int, default=8)
    parser.add_argument("--forward", type=float, default=0.05, help="seconds of one forward")
    parser.add_argument("--backward", type=float, default=0.1, help="seconds of one backward")
    parser.add_argument("--transfer", type=float, default=0.0, help="seconds of one transfer")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        plan = check(GENERATORS[given.schedule](given.stages, given.micro_batches))
        durations = stage_durations(
            (given.forward,) * given.stages, (given.backward,) * given.stages
        )
        given.output.write_text(draw(simulate(plan, durations, given.transfer)), encoding="utf-8")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
