"""Decoded text made fit for a person's eyes: cut in its middle, control characters shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from jllm.data.inspection.shown import Run

UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What could steer a terminal or turn text round: all controls but tab and line feed."""


def visible(text: str) -> str:
    """The text with every unsafe character written as ⟨U+001B⟩."""
    return UNSAFE.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


def excerpt(runs: Sequence[Run], chars: int) -> list[Run]:
    """Runs of at most about `chars` characters: the first and the last half (0: everything)."""
    total = sum(len(run.text) for run in runs)
    if not chars or total <= chars:
        return list(runs)
    head = _first(runs, chars - chars // 2)
    tail = _first([replace(run, text=run.text[::-1]) for run in reversed(runs)], chars // 2)
    tail = [replace(run, text=run.text[::-1]) for run in reversed(tail)]
    left_out = total - sum(len(run.text) for run in (*head, *tail))
    gap = Run(text=f" … {left_out:,} characters … ", trained=False, special=True)
    return [*head, gap, *tail]


def _first(runs: Sequence[Run], chars: int) -> list[Run]:
    taken = []
    for run in runs:
        if chars <= 0:
            break
        taken.append(replace(run, text=run.text[:chars]))
        chars -= len(run.text)
    return taken
