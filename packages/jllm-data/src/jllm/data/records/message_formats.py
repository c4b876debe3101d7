"""JSON values → what a record holds: a text, the messages of a chat, a prompt with its number.

Two forms of a dialogue are read, `[{"user": "…"}, …]` and `{"messages": [{"role": "user", …}, …]}`.
What is neither is refused with the reason that the account gives and a word for a person.
"""

from __future__ import annotations

import json
from typing import Any, TypeGuard

ROLES = ("system", "user", "assistant", "tool")

EMPTY = (None, "", [], {})
"""Values of further keys that say nothing; 0 and false are not among them (`"train": false`)."""
CHANGE_RENDERING = ("tools", "functions", "documents", "chat_template_kwargs")
"""Keys beside "messages" by which servers change what the chat template writes."""

MESSAGES = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", …}]}'
"""The form of a dialogue, for a person."""
ONE_A_LINE = "write one record a line (`jq -c '.[]'`)"

SHOWN = 40
"""Characters of a key or role that are shown."""

Message = dict[str, str]
"""{"role": …, "content": …}, as chat templates take it; "name" too where the record has one."""


class Unusable(Exception):
    """A value that is no record of the kind."""

    def __init__(self, reason: str, detail: str, *, fatal: bool = True, line: int = 0) -> None:
        """`line`: how many lines after the record's first the problem lies."""
        super().__init__(detail)
        self.reason, self.detail, self.fatal, self.line = reason, detail, fatal, line


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object of JSON with these keys (json's object_pairs_hook; costs 1 µs a record).

    Unusable where a key is there twice: of the two, json would take the last, silently.
    """
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Unusable("malformed JSON", f"an object has the key {_quoted(twice)} twice")
    return value


def text_of(value: object) -> str:
    """The text of `{"text": "…"}`. Raises Unusable, as all here."""
    if isinstance(value, list):
        raise Unusable("not an object", f"the line holds a whole list; {ONE_A_LINE}")
    if not isinstance(value, dict):
        raise Unusable(
            "not an object", f'found {_named(value)}; expected an object {{"text": "…"}}'
        )
    if "text" not in value:
        hint = "; chats are converted with --type ft" if "messages" in value else ""
        raise Unusable("missing key", f'no key "text"; found {_keys(value)}{hint}')
    text = _string(value["text"], '"text"')
    if not text or text.isspace():
        raise Unusable("empty text", '"text" holds nothing but white space', fatal=False)
    return text


def messages_of(value: object) -> list[Message]:
    """The messages of either form, `[{"user": …}, …]` or `{"messages": [{"role": …}, …]}`."""
    if isinstance(value, dict):
        if "messages" not in value:
            hint = "; text is converted with --type pretrain" if "text" in value else ""
            if "conversations" in value:
                hint = f"; expected {MESSAGES}: rename conversations, from and value, human and gpt"
            raise Unusable("missing key", f'no key "messages"; found {_keys(value)}{hint}')
        if not isinstance(value["messages"], list):
            raise Unusable("not a dialogue", f'"messages" is {_named(value["messages"])}')
        for key in CHANGE_RENDERING:
            if value.get(key) not in EMPTY:
                raise Unusable("unknown key", f'dialogues with "{key}" are not read; leave it out')
        return [_message(item, number) for number, item in enumerate(value["messages"], 1)]
    if isinstance(value, list):
        if value and (
            isinstance(value[0], list) or (isinstance(value[0], dict) and "messages" in value[0])
        ):
            what = f"the line holds a whole list of dialogues; {ONE_A_LINE}"
            raise Unusable("not a dialogue", what)
        return [_turn(item, number) for number, item in enumerate(value, 1)]
    raise Unusable(
        "not a dialogue",
        f'found {_named(value)}; expected [{{"user": "…"}}, {{"assistant": "…"}}] or {MESSAGES}',
    )


def _message(item: object, number: int) -> Message:
    if not isinstance(item, dict):
        raise Unusable("not a dialogue", f"message {number} is {_named(item)}")
    for key in ("role", "content"):
        if key not in item:
            raise Unusable("missing key", f'message {number} has no key "{key}"; {_keys(item)}')
    for key, found in item.items():
        if key not in ("role", "content", "name") and found not in EMPTY:
            raise Unusable(
                "unknown key",
                f"message {number} has the key {_quoted(key)}; only role and content are read",
            )
    message = {
        "role": _role(item["role"], number),
        "content": _string(item["content"], f"the content of message {number}"),
    }
    if item.get("name") not in EMPTY:
        message["name"] = _string(item["name"], f"the name of message {number}")
    return message


def _turn(item: object, number: int) -> Message:
    if not isinstance(item, dict) or len(item) != 1:
        raise Unusable(
            "not a dialogue", f'message {number} is {_named(item)}; expected {{"user": "…"}}'
        )
    ((role, content),) = item.items()
    return {
        "role": _role(role, number),
        "content": _string(content, f"the content of message {number}"),
    }


def _role(role: object, number: int) -> str:
    if role not in ROLES:
        raise Unusable(
            "unknown role", f"message {number} is by {_quoted(role)}; expected {', '.join(ROLES)}"
        )
    return str(role)


def is_prompt(value: object) -> TypeGuard[list[Any]]:
    """Whether a value has the form of an RL prompt, a list that begins with a number."""
    return isinstance(value, list) and bool(value) and _is_number(value[0])


def prompt_of(value: object) -> tuple[int, list[Message]]:
    """The number and the messages of `[7, {"user": "…"}]` or `{"id": 7, "messages": […]}`."""
    if isinstance(value, dict):
        messages, number = messages_of(value), value.get("id")
        found = f'"id" is {_named(number)}' if "id" in value else f'no key "id"; {_keys(value)}'
    else:
        messages = messages_of(value[1:] if is_prompt(value) else value)
        number = value[0] if is_prompt(value) else None
        found = "a chat without a number among RL prompts"
    if not _is_number(number):
        raise Unusable("not a prompt", f'{found}; expected [7, {{"user": "…"}}], 7 any number')
    if not -(2**31) <= number < 2**31:
        raise Unusable("not a prompt", f"its number is {str(number)[:20]}; expected one of 32 bits")
    return number, messages


def check_chat(messages: list[Message], *, drop_unanswered: bool) -> None:
    """Whether there is an answer, and something before it."""
    roles = [message["role"] for message in messages]
    if "assistant" not in roles:
        raise Unusable(
            "no answer",
            "no message is by the assistant, so there is nothing to train on"
            + (
                ""
                if drop_unanswered
                else "; mend the record, or drop such records with --filter (RL prompts are "
                "converted with --type rl)"
            ),
            fatal=not drop_unanswered,
        )
    _check_first(roles)


def check_prompt(messages: list[Message]) -> None:
    """Whether an answer can follow."""
    roles = [message["role"] for message in messages]
    if not roles or roles[-1] not in ("user", "tool"):
        found = f"ends with a message by {roles[-1]}" if roles else "has no message"
        raise Unusable("not a prompt", f"the prompt {found}; expected one by user or tool at last")
    _check_first(roles)


def _check_first(roles: list[str]) -> None:
    if next((role for role in roles if role != "system"), "") == "assistant":
        raise Unusable(
            "assistant first", "the dialogue begins with the assistant; expected a user's message"
        )


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _string(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise Unusable("not a string", f"{what} is {_named(value)}; expected a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Unusable(
                "invalid Unicode", f"{what} holds a lone surrogate (\\u{ord(value[error.start]):x})"
            ) from error
    return value


def _named(value: object) -> str:
    if isinstance(value, dict):
        return f"an object with {_keys(value)}"
    names = {list: "a list", str: "a string", bool: "a truth value", type(None): "null"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "a number")


def _keys(value: dict[str, object]) -> str:
    return "keys " + ", ".join(map(_quoted, list(value)[:6])) if value else "no keys"


def _quoted(value: object) -> str:
    """A string for a person: short, with nothing that a terminal or a file would stumble over."""
    if not isinstance(value, str):
        return _named(value)
    short = value if len(value) <= SHOWN else value[:SHOWN] + "…"
    text = json.dumps(short, ensure_ascii=False)
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
