"""ShareGPT: `{"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}`.

A role has several speaker names; the values are kept unchanged. Turns with `role` and `content` are
OpenAI's messages under another key.
"""

from __future__ import annotations

from jllm.data.records.formats.dialogue import Message
from jllm.data.records.formats.openai import message_of
from jllm.data.records.unusable import EMPTY, Unusable, keys_of, named, quoted, string_of

SPEAKERS = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "model", "bot"), "assistant"),
    "system": "system",
    **dict.fromkeys(("tool", "observation", "function_response", "tool_response"), "tool"),
}
"""Speaker name → role."""


def messages_of_sharegpt(turns: object) -> list[Message]:
    """Return the messages of a list of turns. Raises Unusable."""
    if not isinstance(turns, list):
        raise Unusable("not a dialogue", f'"conversations" is {named(turns)}')
    if turns and isinstance(turns[0], dict) and "role" in turns[0] and "from" not in turns[0]:
        return [message_of(item, number) for number, item in enumerate(turns, 1)]
    return [_message(item, number) for number, item in enumerate(turns, 1)]


def _message(item: object, number: int) -> Message:
    if not isinstance(item, dict):
        raise Unusable("not a dialogue", f"message {number} is {named(item)}")
    for key in ("from", "value"):
        if key not in item:
            raise Unusable("missing key", f'message {number} has no key "{key}"; {keys_of(item)}')
    for key, found in item.items():
        if key not in ("from", "value") and found not in EMPTY:
            raise Unusable(
                "unknown key",
                f"message {number} has the key {quoted(key)}; only from and value are read",
            )
    speaker = item["from"]
    role = SPEAKERS.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        raise Unusable(
            "unknown role",
            f"message {number} is by {quoted(speaker)}; expected {', '.join(SPEAKERS)}",
        )
    return {"role": role, "content": string_of(item["value"], f"the value of message {number}")}
