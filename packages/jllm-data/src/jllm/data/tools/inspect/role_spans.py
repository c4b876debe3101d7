"""Assign the ids of chats to turns, by the header that the chat template writes before each.

Special tokens never come from typed text, so their ids mark structure: a turn begins at the ids of
its role's header (`<|im_start|>` `user`) and extends to the next header or the document's end. It
holds the header, the text and the end of turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jllm.data.tools.inspect.documents import Documents

BEFORE = "before the first turn"
"""The role of ids at the beginning of a document that belong to no turn (`<s>`)."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """The ids with which the turns of a role begin."""

    role: str
    ids: tuple[int, ...]
    skipped: int = 0
    """How many of them still belong to the previous turn (Mistral's [/INST])."""


@dataclass(frozen=True, kw_only=True)
class Turns:
    """The headers of a chat template."""

    headers: tuple[Header, ...]
    beginning: tuple[int, ...] = ()
    """Ids with which documents may begin before any turn."""
    unheaded: str = BEFORE
    """The role of the text after them without a header (for some templates a system text)."""

    @property
    def names(self) -> tuple[str, ...]:
        """All roles in dialogue order, BEFORE last; the index is the role's code."""
        roles = [header.role for header in self.headers]
        return (*dict.fromkeys(role for role in (self.unheaded, *roles) if role != BEFORE), BEFORE)


def turn_starts(
    turns: Turns, ids: np.ndarray, documents: Documents
) -> tuple[np.ndarray, np.ndarray]:
    """Return where turns begin and whose they are: (ascending places in `ids`, codes of
    `Turns.names`).

    Each int64 [turns]. Every document begins a turn; −1 is the code of closing documents.
    """
    codes = {name: code for code, name in enumerate(turns.names)}
    starts = documents.start
    begins = _found(turns.beginning, ids, starts) if turns.beginning else starts[:0]
    places = [starts, begins, begins + len(turns.beginning)]
    unheaded, before = codes[turns.unheaded], codes[BEFORE]
    kinds = [np.full(len(starts), unheaded), np.full(len(begins), before)]
    kinds.append(np.full(len(begins), unheaded))
    for header in sorted(turns.headers, key=lambda header: len(header.ids)):
        found = _found(header.ids, ids, np.flatnonzero(ids == header.ids[0]))
        places.append(found + header.skipped)
        kinds.append(np.full(len(found), codes[header.role]))
    closing = starts[documents.closing]
    places.append(closing)
    kinds.append(np.full(len(closing), -1))
    return _last_wins(places, kinds, len(ids))


def role_counts(
    turns: Turns, ids: np.ndarray, documents: Documents, trained: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (ids, trained ids) of each of `Turns.names`, int64 [roles]; no closing documents."""
    places, kinds = turn_starts(turns, ids, documents)
    number = len(turns.names)
    if not len(places):
        return np.zeros(number, np.int64), np.zeros(number, np.int64)
    lengths = np.diff(places, append=len(ids))
    sums = np.add.reduceat(trained.astype(np.int64), places)
    return (
        np.bincount(kinds + 1, lengths, number + 1)[1:].astype(np.int64),
        np.bincount(kinds + 1, sums, number + 1)[1:].astype(np.int64),
    )


def _found(pattern: Sequence[int], ids: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return those of `places` at which the pattern occurs."""
    places = places[places + len(pattern) <= len(ids)]
    for offset, number in enumerate(pattern):
        places = places[ids[places + offset] == number]
    return places


def _last_wins(
    places: list[np.ndarray], kinds: list[np.ndarray], total: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the places, sorted and unique, each with the kind given last for it."""
    place, kind = np.concatenate(places)[::-1], np.concatenate(kinds)[::-1]
    kept, first = np.unique(place, return_index=True)
    inside = kept < total
    return kept[inside], kind[first][inside]
