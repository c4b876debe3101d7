"""The short form of a dialogue: `[{"system": "…"}, {"user": "…"}, {"assistant": "…"}]`."""

from __future__ import annotations

from jllm.data.records.formats.dialogue import ONE_A_LINE, Message, role_of
from jllm.data.records.unusable import Unusable, named, string_of


def messages_of_turns(value: list[object]) -> list[Message]:
    """Return the messages of a list of turns. Raises Unusable."""
    first = value[0] if value else None
    if isinstance(first, list) or (isinstance(first, dict) and _is_dialogue(first)):
        what = f"the line holds a whole list of dialogues; {ONE_A_LINE}"
        raise Unusable("not a dialogue", what)
    return [_turn(item, number) for number, item in enumerate(value, 1)]


def _is_dialogue(value: dict[object, object]) -> bool:
    return bool(value.keys() & {"messages", "conversations", "instruction"})


def _turn(item: object, number: int) -> Message:
    if not isinstance(item, dict) or len(item) != 1:
        raise Unusable(
            "not a dialogue", f'message {number} is {named(item)}; expected {{"user": "…"}}'
        )
    ((role, content),) = item.items()
    return {
        "role": role_of(role, number),
        "content": string_of(content, f"the content of message {number}"),
    }
