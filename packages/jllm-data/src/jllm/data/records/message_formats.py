"""Turn JSON values into a record's content: a text, a dialogue, or a prompt with its number.

Any other value is refused with a reason for the record counts and a message for the user. The
forms of a dialogue are in `formats/`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeGuard

from jllm.data.records.formats.dialogue import ONE_A_LINE, Dialogue, Message
from jllm.data.records.formats.look import TRAINING, dialogue_of, refuse_changes, unused_keys
from jllm.data.records.unusable import Unusable, keys_of, named, string_of

_TEXT_TRAINING = tuple(key for key in TRAINING if key != "labels")
"""Labels beside a text are its classes, not training targets."""


def text_of(value: object) -> tuple[str, tuple[str, ...]]:
    """Return the text of `{"text": "…"}` and the keys that were not used. Raises Unusable."""
    if isinstance(value, list):
        raise Unusable("not an object", f"the line holds a whole list; {ONE_A_LINE}")
    if not isinstance(value, dict):
        raise Unusable("not an object", f'found {named(value)}; expected an object {{"text": "…"}}')
    if "text" not in value:
        chat = value.keys() & {"messages", "conversations", "instruction"}
        hint = "; chats are converted with --type ft" if chat else ""
        raise Unusable("missing key", f'no key "text"; found {keys_of(value)}{hint}')
    refuse_changes(value, _TEXT_TRAINING)
    text = string_of(value["text"], '"text"')
    if not text or text.isspace():
        raise Unusable("empty text", '"text" holds nothing but white space', fatal=False)
    return text, unused_keys(value, {"text"})


def is_prompt(value: object) -> TypeGuard[list[Any]]:
    """Return whether a value has the form of an RL prompt: a list that begins with a number."""
    return isinstance(value, list) and bool(value) and _is_number(value[0])


def prompt_of(value: object) -> tuple[int, Dialogue]:
    """Return number and dialogue of `[7, {"user": "…"}]` or `{"id": 7, "messages": […]}`."""
    if isinstance(value, dict):
        dialogue, number = dialogue_of(value), value.get("id")
        unused = tuple(key for key in dialogue.unused if key != "id")
        dialogue = replace(dialogue, unused=unused)
        found = f'"id" is {named(number)}' if "id" in value else f'no key "id"; {keys_of(value)}'
    else:
        dialogue = dialogue_of(value[1:] if is_prompt(value) else value)
        number = value[0] if is_prompt(value) else None
        found = "a chat without a number among RL prompts"
    if not _is_number(number):
        raise Unusable("not a prompt", f'{found}; expected [7, {{"user": "…"}}], 7 any number')
    if not -(2**31) <= number < 2**31:
        raise Unusable("not a prompt", f"its number is {str(number)[:20]}; expected one of 32 bits")
    return number, dialogue


def check_chat(messages: list[Message], *, drop_unanswered: bool) -> None:
    """Raise Unusable unless there is an answer with something before it."""
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
    """Raise Unusable unless an answer can follow."""
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
