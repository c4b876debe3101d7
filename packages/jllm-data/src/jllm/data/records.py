"""Bytes of a work unit → records: texts or chats, each with its line, or what is wrong with it.

Nothing is repaired and nothing is guessed: a line that is not the JSON that it should be is a
`Problem`, and the caller decides whether that stops the conversion or is counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from jllm.data.units import MAX_RECORD_BYTES, Unit

ROLES = ("system", "user", "assistant", "tool")

EMPTY = (None, "", [], {})
"""Values of further keys that say nothing; 0 and false are not among them (`"train": false`)."""
CHANGE_RENDERING = ("tools", "functions", "documents", "chat_template_kwargs")
"""Keys beside "messages" by which servers change what the chat template writes."""

MESSAGES = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", …}]}'
"""The form of a dialogue, for a person."""
ONE_A_LINE = "write one record a line (`jq -c '.[]'`)"

Message = dict[str, str]
"""{"role": …, "content": …}, as chat templates take it."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why a record cannot be used: `reason` is its name in the account, `detail` is for a person.

    `fatal`: it stops a conversion with `--on_error stop`; otherwise it is only counted.
    """

    line: int
    reason: str
    detail: str
    fatal: bool = True


@dataclass(frozen=True, kw_only=True)
class Text:
    """A document for pre-training."""

    line: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Chat:
    """A dialogue; at least one message is by the assistant, the first is not."""

    line: int
    messages: tuple[Message, ...]


class _Unusable(Exception):
    def __init__(self, reason: str, detail: str, *, fatal: bool = True, line: int = 0) -> None:
        """`line`: how many lines after the record's first the problem lies."""
        super().__init__(detail)
        self.reason, self.detail, self.fatal, self.line = reason, detail, fatal, line


def read_records(
    unit: Unit,
    data: bytes,
    kind: Literal["pretrain", "ft"],
    *,
    drop_unanswered: bool = False,
    max_record_bytes: int = MAX_RECORD_BYTES,
) -> Iterator[Text | Chat | Problem]:
    """The records of a unit in order. Blank lines are not records.

    `drop_unanswered`: a chat without an answer is dropped and counted instead of being an error.
    """
    if unit.too_long:
        yield too_long(unit.first_line, max_record_bytes)
    if unit.start == 0:
        data = data.removeprefix(b"\xef\xbb\xbf")
    pieces = _paragraphs(unit, data) if unit.layout == "paragraphs" else _lines(unit, data)
    for line, piece in pieces:
        if len(piece) > max_record_bytes:
            yield too_long(line, max_record_bytes)
            continue
        try:
            text = _decode(piece)
            if unit.layout == "paragraphs":
                yield Text(line=line, text=text)
            elif kind == "pretrain":
                yield Text(line=line, text=_text_of(_json(text, "")))
            else:
                plain = "; for plain text give --type pretrain"
                hint = plain if unit.path.suffix == ".txt" else ""
                messages = _messages_of(_json(text, hint))
                _check_roles(messages, drop_unanswered=drop_unanswered)
                yield Chat(line=line, messages=tuple(messages))
        except _Unusable as why:
            yield Problem(
                line=line + why.line, reason=why.reason, detail=why.detail, fatal=why.fatal
            )


def too_long(line: int, max_record_bytes: int) -> Problem:
    """What is said of a record of too many bytes."""
    return Problem(
        line=line,
        reason="too many bytes",
        detail=f"the record has more than {max_record_bytes:,} bytes; divide it, or allow more "
        "with --max_record_bytes (memory: many times that a process)",
    )


def _lines(unit: Unit, data: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(data.split(b"\n"), unit.first_line):
        if line.strip():
            yield number, line


def _paragraphs(unit: Unit, data: bytes) -> Iterator[tuple[int, bytes]]:
    line = unit.first_line
    for piece in data.replace(b"\r\n", b"\n").split(b"\n\n"):
        text = piece.strip(b"\n")
        if text.strip():
            yield line + (len(piece) - len(piece.lstrip(b"\n"))), text
        line += piece.count(b"\n") + 2


def _decode(piece: bytes) -> str:
    try:
        return piece.decode()
    except UnicodeDecodeError as error:
        raise _Unusable(
            "invalid UTF-8",
            f"byte 0x{piece[error.start]:02x} at byte {error.start} of the record is not UTF-8; "
            "expected UTF-8 text: convert the file with iconv, or mend the record",
            line=piece[: error.start].count(b"\n"),
        ) from error


def _json(text: str, hint: str) -> object:
    """The value; `hint` goes with the advice where the text is not JSON."""
    try:
        value = json.loads(text)
    except ValueError as error:
        if text.strip() == "[":
            raise _Unusable(
                "malformed JSON", f"the line begins a whole list; {ONE_A_LINE}"
            ) from error
        raise _Unusable(
            "malformed JSON",
            f"{error}; expected one JSON value a line: mend or remove the line{hint}",
        ) from error
    except RecursionError as error:
        raise _Unusable("malformed JSON", "the value is nested too deeply") from error
    return value


def _text_of(value: object) -> str:
    if isinstance(value, list):
        raise _Unusable("not an object", f"the line holds a whole list; {ONE_A_LINE}")
    if not isinstance(value, dict):
        raise _Unusable(
            "not an object", f'found {_named(value)}; expected an object {{"text": "…"}}'
        )
    if "text" not in value:
        hint = "; chats are converted with --type ft" if "messages" in value else ""
        raise _Unusable("missing key", f'no key "text"; found {_keys(value)}{hint}')
    text = _string(value["text"], '"text"')
    if not text.strip():
        raise _Unusable("empty text", '"text" holds nothing but white space', fatal=False)
    return text


def _messages_of(value: object) -> list[Message]:
    """The messages of either form, `[{"user": …}, …]` or `{"messages": [{"role": …}, …]}`."""
    if isinstance(value, dict):
        if "messages" not in value:
            hint = "; text is converted with --type pretrain" if "text" in value else ""
            if "conversations" in value:
                hint = f"; expected {MESSAGES}: rename conversations, from and value, human and gpt"
            raise _Unusable("missing key", f'no key "messages"; found {_keys(value)}{hint}')
        if not isinstance(value["messages"], list):
            raise _Unusable("not a dialogue", f'"messages" is {_named(value["messages"])}')
        for key in CHANGE_RENDERING:
            if value.get(key) not in EMPTY:
                raise _Unusable("unknown key", f'dialogues with "{key}" are not read; leave it out')
        return [_message(item, number) for number, item in enumerate(value["messages"], 1)]
    if isinstance(value, list):
        if value and (
            isinstance(value[0], list) or (isinstance(value[0], dict) and "messages" in value[0])
        ):
            what = f"the line holds a whole list of dialogues; {ONE_A_LINE}"
            raise _Unusable("not a dialogue", what)
        return [_turn(item, number) for number, item in enumerate(value, 1)]
    raise _Unusable(
        "not a dialogue",
        f'found {_named(value)}; expected [{{"user": "…"}}, {{"assistant": "…"}}] or {MESSAGES}',
    )


def _message(item: object, number: int) -> Message:
    if not isinstance(item, dict):
        raise _Unusable("not a dialogue", f"message {number} is {_named(item)}")
    for key in ("role", "content"):
        if key not in item:
            raise _Unusable("missing key", f'message {number} has no key "{key}"; {_keys(item)}')
    for key, found in item.items():
        if key not in ("role", "content", "name") and found not in EMPTY:
            raise _Unusable(
                "unknown key",
                f'message {number} has the key "{key}"; only role and content are read',
            )
    return {
        "role": _role(item["role"], number),
        "content": _string(item["content"], f"the content of message {number}"),
    }


def _turn(item: object, number: int) -> Message:
    if not isinstance(item, dict) or len(item) != 1:
        raise _Unusable(
            "not a dialogue", f'message {number} is {_named(item)}; expected {{"user": "…"}}'
        )
    ((role, content),) = item.items()
    return {
        "role": _role(role, number),
        "content": _string(content, f"the content of message {number}"),
    }


def _role(role: object, number: int) -> str:
    if role not in ROLES:
        raise _Unusable(
            "unknown role", f"message {number} is by {role!r}; expected {', '.join(ROLES)}"
        )
    return str(role)


def _check_roles(messages: list[Message], *, drop_unanswered: bool) -> None:
    roles = [message["role"] for message in messages]
    if "assistant" not in roles:
        raise _Unusable(
            "no answer",
            "no message is by the assistant, so there is nothing to train on"
            + ("" if drop_unanswered else "; mend the record, or drop such records with --filter"),
            fatal=not drop_unanswered,
        )
    first = next((role for role in roles if role != "system"), "")
    if first == "assistant":
        raise _Unusable(
            "assistant first", "the dialogue begins with the assistant; expected a user's message"
        )


def _string(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise _Unusable("not a string", f"{what} is {_named(value)}; expected a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise _Unusable(
                "invalid Unicode", f"{what} holds a lone surrogate (\\u{ord(value[error.start]):x})"
            ) from error
    return value


def _named(value: object) -> str:
    if isinstance(value, dict):
        return f"an object with {_keys(value)}"
    names = {list: "a list", str: "a string", bool: "a truth value", type(None): "null"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "a number")


def _keys(value: dict[str, object]) -> str:
    return "keys " + ", ".join(f'"{key}"' for key in list(value)[:6]) if value else "no keys"
