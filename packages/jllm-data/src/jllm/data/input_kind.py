"""Chats or RL prompts? The first record of the input tells; all others must be of its kind."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator

from jllm.data.record_forms import is_prompt
from jllm.data.records import pieces
from jllm.data.schema import Kind
from jllm.data.units import Unit, read_unit


def chats_or_prompts(units: Iterator[Unit]) -> tuple[Kind, Iterator[Unit]]:
    """The kind, "rl" where the first JSON value is `[7, {"user": …}]`, and all the units.

    Only the first unit is looked at.
    """
    first = next(units, None)
    if first is None:
        return "ft", units
    return "rl" if _holds_prompts(first) else "ft", itertools.chain((first,), units)


def _holds_prompts(unit: Unit) -> bool:
    for _, piece in pieces(unit, read_unit(unit)):
        if piece.strip():
            with contextlib.suppress(ValueError, RecursionError):
                return is_prompt(json.loads(piece))
    return False
