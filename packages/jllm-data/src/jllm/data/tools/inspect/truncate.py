"""Shorten decoded text for display by cutting out its middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jllm.data.tools.inspect.row_view import Run

LEAST = 24
"""The least characters shown of every longer run, if there is room for all runs."""


def excerpt(runs: Sequence[Run], chars: int) -> list[Run]:
    """Return runs of about `chars` characters (0: all); long runs are cut in the middle.

    So the places where training starts and stops stay visible. If there are too many runs for that,
    the first and the last are kept.
    """
    total = sum(len(run.text) for run in runs)
    if not chars or total <= chars:
        return list(runs)
    if sum(min(LEAST, len(run.text)) for run in runs) > chars:
        head = _first(runs, chars - chars // 2)
        tail = _first([_reversed(run) for run in reversed(runs)], chars // 2)
        kept = sum(len(run.text) for run in (*head, *tail))
        return [*head, _gap(total - kept), *map(_reversed, reversed(tail))]
    limit = _limit([len(run.text) for run in runs], chars)
    return [part for run in runs for part in _cut(run, limit)]


def _limit(lengths: Sequence[int], chars: int) -> int:
    """Return the largest cap for which the capped lengths add up to at most `chars`."""
    left = chars
    for number, length in enumerate(sorted(lengths)):
        each = left // (len(lengths) - number)
        if length > each:
            return each
        left -= length
    return max(lengths)


def _cut(run: Run, limit: int) -> list[Run]:
    text, tail = run.text, limit // 2
    if len(text) <= limit:
        return [run]
    return [
        replace(run, text=text[: limit - tail]),
        _gap(len(text) - limit),
        replace(run, text=text[len(text) - tail :]),
    ]


def _first(runs: Sequence[Run], chars: int) -> list[Run]:
    taken = []
    for run in runs:
        if chars <= 0:
            break
        taken.append(replace(run, text=run.text[:chars]))
        chars -= len(run.text)
    return taken


def _reversed(run: Run) -> Run:
    return replace(run, text=run.text[::-1])


def _gap(characters: int) -> Run:
    return Run(text=f" … {characters:,} characters … ", trained=False, special=True)
