"""Parse the bytes of an input split into records: texts, chats or prompts with line numbers.

Nothing is repaired or guessed. A line that is not the expected JSON becomes a `Problem`; the caller
decides whether it stops the conversion or is only counted.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass

from jllm.data.format.kinds import Kind
from jllm.data.format.record_counts import Problem
from jllm.data.records.formats.dialogue import ONE_A_LINE, Message, Tool
from jllm.data.records.formats.look import dialogue_of
from jllm.data.records.input_names import MAX_RECORD_BYTES
from jllm.data.records.message_formats import (
    check_chat,
    check_prompt,
    is_prompt,
    prompt_of,
    text_of,
)
from jllm.data.records.other_kind import other_kind
from jllm.data.records.splits import InputSplit, read_split
from jllm.data.records.tables import rows_of
from jllm.data.records.unusable import Unusable, unique_keys


@dataclass(frozen=True, kw_only=True)
class Text:
    """A document for pre-training."""

    line: int
    text: str
    unused: tuple[str, ...] = ()
    """Keys of the record that were not read."""


@dataclass(frozen=True, kw_only=True)
class Chat:
    """A dialogue with at least one assistant message, which is not the first message."""

    line: int
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A dialogue for the model to answer (reinforcement learning); it ends with a user message."""

    line: int
    number: int
    """The id by which a reward function knows the prompt, 32 bits."""
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    unused: tuple[str, ...] = ()


Record = Text | Chat | Prompt

_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)


def read_records(
    split: InputSplit,
    data: bytes,
    kind: Kind,
    *,
    drop_unanswered: bool = False,
    max_record_bytes: int = MAX_RECORD_BYTES,
) -> Iterator[Record | Problem]:
    """Yield the records of a split in order. Blank lines are not records.

    `drop_unanswered`: drop and count a chat without an answer instead of treating it as an error.
    """
    if split.layout == "rows":
        yield from _table_records(split, data, kind, drop_unanswered, max_record_bytes)
        return
    if split.too_long:
        yield too_long(split.first_line, max_record_bytes)
    for line, piece in pieces(split, data):
        if len(piece) > max_record_bytes:
            yield too_long(line, max_record_bytes)
            continue
        if not piece.strip():
            continue
        try:
            text = _decode(piece)
            if split.layout == "paragraphs":
                yield Text(line=line, text=text)
            else:
                plain = kind != "pretrain" and ".txt" in split.path.suffixes
                value = _json(text, "; for plain text give --type pretrain" if plain else "")
                yield _record(line, value, kind, drop_unanswered=drop_unanswered)
        except Unusable as why:
            yield Problem(
                line=line + why.line, reason=why.reason, detail=why.detail, fatal=why.fatal
            )


def _table_records(
    split: InputSplit, data: bytes, kind: Kind, drop_unanswered: bool, max_record_bytes: int
) -> Iterator[Record | Problem]:
    for line, row in enumerate(rows_of(data, max_record_bytes), split.first_line):
        if row is None:
            yield too_long(line, max_record_bytes)
            continue
        try:
            if isinstance(row, Unusable):
                raise row
            yield _record(line, row, kind, drop_unanswered=drop_unanswered)
        except Unusable as why:
            yield Problem(line=line, reason=why.reason, detail=why.detail, fatal=why.fatal)


def too_long(line: int, max_record_bytes: int) -> Problem:
    """Return the problem reported for a record that has too many bytes."""
    return Problem(
        line=line,
        reason="too many bytes",
        detail=f"the record has more than {max_record_bytes:,} bytes; divide it, or allow more "
        "with --max_record_bytes (memory: many times that a process)",
    )


def pieces(split: InputSplit, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (line, bytes) of each piece between separators. A blank piece is not a record."""
    if split.start == 0:
        data = data.removeprefix(b"\xef\xbb\xbf")
    return _paragraphs(split, data) if split.layout == "paragraphs" else _lines(split, data)


def _lines(split: InputSplit, data: bytes) -> Iterator[tuple[int, bytes]]:
    yield from enumerate(data.split(b"\n"), split.first_line)


def _paragraphs(split: InputSplit, data: bytes) -> Iterator[tuple[int, bytes]]:
    line = split.first_line
    for piece in data.replace(b"\r\n", b"\n").split(b"\n\n"):
        yield line + (len(piece) - len(piece.lstrip(b"\n"))), piece.strip(b"\n")
        line += piece.count(b"\n") + 2


def _record(line: int, value: object, kind: Kind, *, drop_unanswered: bool) -> Record:
    if what := other_kind(value, kind):
        raise Unusable("another kind", what)
    if kind == "pretrain":
        text, unused = text_of(value)
        return Text(line=line, text=text, unused=unused)
    if kind == "rl":
        number, found = prompt_of(value)
        check_prompt(found.messages)
        return Prompt(
            line=line,
            number=number,
            messages=tuple(found.messages),
            tools=found.tools,
            unused=found.unused,
        )
    found = dialogue_of(value)
    check_chat(found.messages, drop_unanswered=drop_unanswered)
    return Chat(line=line, messages=tuple(found.messages), tools=found.tools, unused=found.unused)


def _decode(piece: bytes) -> str:
    try:
        return piece.decode()
    except UnicodeDecodeError as error:
        raise Unusable(
            "invalid UTF-8",
            f"byte 0x{piece[error.start]:02x} at byte {error.start} of the record is not UTF-8; "
            "expected UTF-8 text: convert the file with iconv, or mend the record",
            line=piece[: error.start].count(b"\n"),
        ) from error


def _json(text: str, hint: str) -> object:
    """Return the value; `hint` is appended to the error message if the text is not JSON."""
    try:
        value = _DECODER.decode(text)
    except ValueError as error:
        if not isinstance(error, json.JSONDecodeError):  # Python's advice is for programmers
            raise Unusable("malformed JSON", "holds a number of over 4300 digits") from error
        if text.strip() == "[":
            raise Unusable(
                "malformed JSON", f"the line begins a whole list; {ONE_A_LINE}"
            ) from error
        raise Unusable(
            "malformed JSON",
            f"{error}; expected one JSON value a line: mend or remove the line{hint}",
        ) from error
    except RecursionError as error:
        raise Unusable("malformed JSON", "the value is nested too deeply") from error
    return value


def chats_or_prompts(splits: Iterator[InputSplit]) -> tuple[Kind, Iterator[InputSplit]]:
    """Return the kind and all the splits: "rl" if the first JSON value is `[7, {"user": …}]`.

    Looks at the first split only.
    """
    first = next(splits, None)
    if first is None:
        return "ft", splits
    return "rl" if _holds_prompts(first) else "ft", itertools.chain((first,), splits)


def _holds_prompts(split: InputSplit) -> bool:
    if split.layout == "rows":  # prompts in tables are objects, which need an explicit --type rl
        return False
    for _, piece in pieces(split, read_split(split)):
        if piece.strip():
            with contextlib.suppress(ValueError, RecursionError):
                return is_prompt(json.loads(piece))
    return False
