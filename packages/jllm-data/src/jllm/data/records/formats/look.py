"""Find the dialogue in a JSON value by recognizing its format.

A value that fits several formats, or none, is refused with the record. Unused keys are listed;
those that would change the meaning of a record are refused.
"""

from __future__ import annotations

from jllm.data.records.formats.alpaca import USED as ALPACA
from jllm.data.records.formats.alpaca import messages_of_alpaca
from jllm.data.records.formats.dialogue import MESSAGES, Dialogue, Message
from jllm.data.records.formats.openai import content_of, messages_of_openai, tools_of
from jllm.data.records.formats.sharegpt import messages_of_sharegpt
from jllm.data.records.formats.short_turns import messages_of_turns
from jllm.data.records.unusable import EMPTY, Unusable, key_name, keys_of, named, quoted, shown

RENDERING = ("functions", "documents", "chat_template_kwargs")
"""Keys by which servers change the output of the chat template."""
TRAINING = ("weight", "weights", "sample_weight", "loss_weight", "train", "trainable", "loss_mask",
            "loss_masks", "labels")  # fmt: skip
"""Keys that say which parts of a record to train on, or their weight."""
SECOND = ("chosen", "rejected", "completion", "completions", "history")
"""Keys that hold further answers or turns."""
_WHY = {
    **dict.fromkeys(RENDERING, "changes what the chat template writes, and is not read"),
    **dict.fromkeys(TRAINING, "says what is to be learnt of a record, and is not read"),
    **dict.fromkeys(SECOND, "is a second dialogue, or a part of one, and is not read"),
}
KEYS = ("messages", "conversations", *ALPACA, "text", "system", "tools", "id", *_WHY)
"""Every key of a record whose value is used."""


def dialogue_of(value: object) -> Dialogue:
    """Return the dialogue of a record in any of the formats. Raises Unusable."""
    if isinstance(value, list):
        return Dialogue(messages=messages_of_turns(value))
    if not isinstance(value, dict):
        raise Unusable(
            "not a dialogue",
            f'found {named(value)}; expected [{{"user": "…"}}, {{"assistant": "…"}}] or {MESSAGES}',
        )
    form = _form(value)
    refuse_changes(value, (*RENDERING, *TRAINING, *SECOND))
    if form == "messages":
        messages, used = messages_of_openai(value["messages"]), {"messages", "tools"}
    elif form == "conversations":
        messages, used = messages_of_sharegpt(value["conversations"]), {"conversations", "tools"}
    else:
        messages, used = messages_of_alpaca(value), {*ALPACA}
    tools = tools_of(value.get("tools")) if "tools" in used else ()
    return Dialogue(
        messages=[*_system(value.get("system"), messages), *messages],
        tools=tools,
        unused=unused_keys(value, used | {"system"}),
    )


def forms_of(value: dict[str, object]) -> list[str]:
    """Return the keys that identify a record's format; exactly one if it is unambiguous."""
    forms = [key for key in ("messages", "conversations") if value.get(key) is not None]
    if value.get("instruction") is not None and value.get("output") is not None:
        forms.append("instruction")
    return forms


def refuse_changes(value: dict[str, object], keys: tuple[str, ...]) -> None:
    """Raise Unusable for the first of the keys with a meaningful value."""
    for key in keys:
        if value.get(key) not in EMPTY:
            raise Unusable(
                "unknown key",
                f'the record has the key "{key}", which {_WHY[key]}; leave it out if it means '
                "nothing",
            )


def unused_keys(value: dict[str, object], used: set[str]) -> tuple[str, ...]:
    """Return the other keys that are not null, as listed in the record counts."""
    return tuple(
        key_name(key) for key, found in value.items() if found is not None and key not in used
    )


def _form(value: dict[str, object]) -> str:
    """Return the key that identifies a record's format."""
    forms = forms_of(value)
    if len(forms) > 1:
        both = " and ".join(map(quoted, forms))
        raise Unusable(
            "not a dialogue",
            f"the record has {both}, so it cannot be told which is meant; leave one out: "
            f"{shown(value)}",
        )
    if forms:
        return forms[0]
    if "instruction" in value:
        return "instruction"
    for key in ("messages", "conversations"):
        if key in value:
            raise Unusable("not a dialogue", f'"{key}" is null')
    hint = "; text is converted with --type pretrain" if "text" in value else ""
    raise Unusable(
        "missing key",
        f'no key "messages"; found {keys_of(value)}; expected {MESSAGES}, conversations with from '
        f"and value, or instruction and output{hint}: {shown(value)}",
    )


def _system(system: object, messages: list[Message]) -> list[Message]:
    """Return the system turn given by the key `system` beside the messages."""
    if system in EMPTY:
        return []
    if messages and messages[0]["role"] == "system":
        raise Unusable(
            "not a dialogue",
            '"system" stands beside messages that begin with a system turn, so it cannot be told '
            "which is meant; leave one out",
        )
    return [{"role": "system", "content": content_of(system, '"system"')}]
