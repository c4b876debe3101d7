"""Find the ids with which a chat template begins each role's turns, by rendering dialogues.

Each role is rendered with marker contents. The text between two contents is the end of one turn and
the header of the next; a turn that ends the dialogue shows where that end stops. The header is cut
to the ids that distinguish it from the others, so variable text after them (a date, an empty line
that a tokenizer joins to the text, `<think>`) does not matter. Takes about ten renderings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jllm.data.chat.refused import ChatRefused
from jllm.data.chat.template import ChatTemplate
from jllm.data.records.formats.dialogue import ROLES
from jllm.data.tokenizer.load import TextTokenizer
from jllm.data.tools.inspect.role_spans import BEFORE, Header, Turns

PROBES = ("a", " a", "\n\na", "7", "中")
"""Contents after a header: ids that stay the same before all of them belong to the header."""
DATE = {"date_string": "26 Jul 2024"}
MARK = re.compile("\ue000\\d\ue001")
DIALOGUES = (
    ("system", "user", "assistant"),
    ("user", "assistant", "user"),
    ("user", "assistant", "tool"),
)


@dataclass(frozen=True)
class _Found:
    """A role's first header ids, and how many of them end the previous turn."""

    ids: tuple[int, ...]
    skipped: int = 0


def find_turns(tokenizer: TextTokenizer) -> Turns:
    """Return the headers of the tokenizer's chat template.

    Raises ValueError if there are none: no template, or one that marks turns with ordinary text,
    which a user may have typed too.
    """
    template = ChatTemplate(tokenizer=tokenizer, variables=dict(DATE))
    found: dict[str, _Found] = {}
    unheaded = BEFORE
    beginning = _beginning(tokenizer)
    for roles in DIALOGUES:
        try:
            texts = _around_contents(template, roles)
        except ChatRefused:
            continue  # The template does not know this role, so no chat of the data has it.
        for number, role in enumerate(roles):
            if role in found:
                continue
            ids = _stable_ids(tokenizer, texts[number])
            if number == 0:
                if ids == beginning and role == "system":
                    unheaded = role
                    continue
                header = _first_header(tokenizer, ids, beginning)
            else:
                try:
                    last = _around_contents(template, roles[:number])[-1]
                except ChatRefused:
                    continue  # Another dialogue shows it.
                header = _header(tokenizer, ids, _ids(tokenizer, last))
            if header is None:
                raise ValueError(
                    f"the chat template marks the turns of {role} with ordinary text "
                    f"({texts[number]!r})"
                )
            found[role] = header
    headers = tuple(_distinct(found))
    own = any(header.ids[:1] == beginning for header in headers)
    return Turns(headers=headers, beginning=() if own else beginning, unheaded=unheaded)


def _around_contents(template: ChatTemplate, roles: Sequence[str]) -> list[str]:
    """Return the text before each content and, last, the text after the last one."""
    messages = [
        {"role": role, "content": f"\ue000{number}\ue001"} for number, role in enumerate(roles)
    ]
    texts = MARK.split(template.render(messages, prompt=False))
    if len(texts) != len(roles) + 1:
        raise ChatRefused("template refused", "a content is left out or written twice")
    return texts


def _stable_ids(tokenizer: TextTokenizer, text: str) -> tuple[int, ...]:
    """Return the leading ids of a text that do not depend on the content after it."""
    ids = _ids(tokenizer, text + PROBES[0])
    for probe in PROBES[1:]:
        ids = ids[: _common(ids, _ids(tokenizer, text + probe))]
    return ids


def _first_header(
    tokenizer: TextTokenizer, ids: tuple[int, ...], beginning: tuple[int, ...]
) -> _Found | None:
    """Return the header of a dialogue's first turn; SmolLM2's begins with the beginning of the
    text.
    """
    behind = ids[len(beginning) :] if ids[: len(beginning)] == beginning else ids
    return _header(tokenizer, behind, ()) or (_Found(ids) if ids[:1] == beginning else None)


def _header(
    tokenizer: TextTokenizer, ids: tuple[int, ...], closing: tuple[int, ...]
) -> _Found | None:
    """Return the ids from the first added token after the previous turn's end, else from the last
    added token of that end.
    """
    added = [number in tokenizer.core.get_added_tokens_decoder() for number in ids]
    common = _common(ids, closing)
    if True in added[common:]:
        return _Found(ids[common + added[common:].index(True) :])
    if True in added:
        last = len(added) - 1 - added[::-1].index(True)
        return _Found(ids[last:], len(ids) - last)
    return None


def _distinct(found: dict[str, _Found]) -> list[Header]:
    """Cut headers to the ids that distinguish them; merge roles with the same header."""
    names: dict[_Found, list[str]] = {}
    for role in ROLES:
        if role in found:
            names.setdefault(found[role], []).append(role)
    headers = []
    for one, roles in names.items():
        needed = [_needed(one.ids, other.ids) for other in names if other != one]
        ids = one.ids[: max(one.skipped, 1, *needed)]
        headers.append(Header(role=" or ".join(roles), ids=ids, skipped=one.skipped))
    return headers


def _needed(ids: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Return how many ids distinguish a header from another, of which only a prefix is known."""
    common = _common(ids, other)
    return len(ids) if common == len(other) else common + 1


def _beginning(tokenizer: TextTokenizer) -> tuple[int, ...]:
    start: Any = tokenizer.hf.bos_token_id
    return () if start is None else (int(start),)


def _ids(tokenizer: TextTokenizer, text: str) -> tuple[int, ...]:
    return tuple(tokenizer.hf(text, add_special_tokens=False)["input_ids"]) if text else ()


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the length of the common prefix."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))
