"""Figures side by side on a terminal line; on a narrow one the less important are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GAP = "  "
"""The space between two figures."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A figure with its name: shown whole or not at all."""

    text: str
    short: str = ""
    """A shorter form for where `text` does not fit; empty: none."""
    rank: int = 0
    """0: always shown; of the others, the highest is left out first."""


def fit(fields: Sequence[Field], width: int | None) -> list[str]:
    """Lay out figures in lines of at most `width` columns; None: in one line of any length.

    Figures are left out by rank until the rest fits one line. Where those of rank 0 do not fit,
    their short forms are used, and if that is not enough, more lines; a figure longer than a line
    gets a line to itself.
    """
    if width is None:
        return [GAP.join(field.text for field in fields)]
    shown = list(fields)
    while _width([field.text for field in shown]) > width:
        worst = max(shown, key=lambda field: field.rank)
        if not worst.rank:
            return _lines([field.short or field.text for field in shown], width)
        shown = [field for field in shown if field is not worst]
    return [GAP.join(field.text for field in shown)]


def _width(texts: Sequence[str]) -> int:
    return sum(map(len, texts)) + len(GAP) * (len(texts) - 1)


def _lines(texts: Sequence[str], width: int) -> list[str]:
    lines: list[list[str]] = [[]]
    for text in texts:
        if lines[-1] and _width([*lines[-1], text]) > width:
            lines.append([])
        lines[-1].append(text)
    return [GAP.join(line) for line in lines]


def brief(number: float) -> str:
    """Write a number of 1 or more with three digits: 1.23M for 1,234,567."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}" if number < 999.5 * size else f"{number:.2e}"
    return f"{number:.0f}"


def clock(seconds: float) -> str:
    """Write a time as hours, minutes and seconds: 0:01:05, 31:00:00."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
