"""Bar charts as inline SVG: no script, no font, no external reference."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from jllm.data.tools.inspect.summary import Bar

WIDTH, HEIGHT = 480, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 8, 14, 48
LINES = 4
"""Horizontal grid lines, without the base line."""


def columns(bars: Sequence[Bar], name: str, axis: str) -> str:
    """Return a column chart; `name` describes the picture, `axis` labels the horizontal axis.

    Each column shows its label and count on hover; the table beside it has them too.
    """
    top = _nice(max((bar.count for bar in bars), default=0))
    slot = (WIDTH - LEFT - RIGHT) / max(1, len(bars))
    room = HEIGHT - TOP - BOTTOM
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)}">']
    for line in range(LINES + 1):
        y = HEIGHT - BOTTOM - room * line / LINES
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        count = _short(top * line / LINES)
        parts.append(
            f'<text class="tick" x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{count}</text>'
        )
    every = -(-len(bars) // 11)
    for number, bar in enumerate(bars):
        height = room * bar.count / top if top else 0.0
        height = max(height, 1.0) if bar.count else 0.0
        x, width = LEFT + slot * (number + 0.1), slot * 0.8
        y = HEIGHT - BOTTOM - height
        told = f"{bar.label}: {bar.count:,} ({bar.part:.1%})"
        parts.append(
            f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'rx="2"><title>{escape(told)}</title></rect>'
        )
        if number % every == 0:
            middle, below = x + width / 2, HEIGHT - BOTTOM + 16
            parts.append(
                f'<text class="tick" x="{middle:.1f}" y="{below}" text-anchor="middle">'
                f"{escape(_first(bar.label))}</text>"
            )
    parts.append(
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" '
        f'text-anchor="middle">{escape(axis)}</text></svg>'
    )
    return "\n".join(parts)


def share_bar(part: float, name: str) -> str:
    """Return one horizontal bar of which `part` (0 … 1) is filled."""
    return (
        f'<svg class="share" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(name)}"><rect class="rest" width="100" height="10"/>'
        f'<rect class="bar" width="{100 * part:.2f}" height="10"/></svg>'
    )


def _nice(number: int) -> int:
    """Return the smallest 1, 2, 4, 6, 8 or 10 times a power of ten ≥ `number`; at least 4."""
    power = 10 ** max(0, len(str(number)) - 1)
    return max(LINES, next(n * power for n in (1, 2, 4, 6, 8, 10) if n * power >= number))


def _short(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g} {unit}"
    return f"{number:g}"


def _first(label: str) -> str:
    """Return the first value of a bin's label, for the axis."""
    return label.split("–")[0]
