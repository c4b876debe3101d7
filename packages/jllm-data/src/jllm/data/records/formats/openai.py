"""OpenAI's messages: `{"messages": [{"role": "user", "content": "…"}, …], "tools": […]}`.

Content is a string, or a list of text parts, which are concatenated without a separator. An answer
may call functions: the arguments of a call, a JSON string, become the object that chat templates
expect.
"""

from __future__ import annotations

import json
from typing import Any

from jllm.data.records.formats.dialogue import Message, Tool, role_of
from jllm.data.records.unusable import (
    EMPTY,
    Unusable,
    keys_of,
    named,
    quoted,
    string_of,
    unique_keys,
)

_FURTHER = {"assistant": "tool_calls", "tool": "tool_call_id"}
"""The key that messages of a role may have beside role, content and name."""


def messages_of_openai(messages: object) -> list[Message]:
    """Return the messages of a list. Raises Unusable, as does every function here."""
    if not isinstance(messages, list):
        raise Unusable("not a dialogue", f'"messages" is {named(messages)}')
    return [message_of(item, number) for number, item in enumerate(messages, 1)]


def message_of(item: object, number: int) -> Message:
    """Return one message, without its empty keys."""
    if not isinstance(item, dict):
        raise Unusable("not a dialogue", f"message {number} is {named(item)}")
    if "role" not in item:
        raise Unusable("missing key", f'message {number} has no key "role"; {keys_of(item)}')
    role = role_of(item["role"], number)
    further = {key for key, found in item.items() if found not in EMPTY} - {"role", "content"}
    calls = role == "assistant" and "tool_calls" in further
    if "content" not in item and not calls:
        raise Unusable("missing key", f'message {number} has no key "content"; {keys_of(item)}')
    for key in item:
        if key in further - {"name", _FURTHER.get(role)}:
            raise Unusable(
                "unknown key",
                f"message {number} has the key {quoted(key)}; only role and content are read, "
                "tool_calls of the assistant and tool_call_id of a tool",
            )
    content = item.get("content")
    if content is not None or not calls:
        content = content_of(content, f"the content of message {number}")
    message: Message = {"role": role, "content": content}
    if "name" in further:
        message["name"] = string_of(item["name"], f"the name of message {number}")
    if calls:
        message["tool_calls"] = _calls(item["tool_calls"], number)
    if role == "tool" and "tool_call_id" in further:
        what = f"the tool_call_id of message {number}"
        message["tool_call_id"] = string_of(item["tool_call_id"], what)
    return message


def content_of(content: object, what: str) -> str:
    """Return the text of a content: a string, or a list of `{"type": "text", "text": "…"}`."""
    if not isinstance(content, list):
        return string_of(content, what)
    texts = []
    for number, part in enumerate(content, 1):
        here = f"part {number} of {what}"
        if not isinstance(part, dict) or part.get("type") != "text" or "text" not in part:
            kind = part.get("type") if isinstance(part, dict) else part
            raise Unusable(
                "not a string",
                f'{here} is {quoted(kind)}; expected {{"type": "text", "text": "…"}}: nothing but '
                "text is read",
            )
        for key, found in part.items():
            if key not in ("type", "text") and found not in EMPTY:
                raise Unusable("unknown key", f"{here} has the key {quoted(key)}; leave it out")
        texts.append(string_of(part["text"], here))
    return "".join(texts)


def tools_of(value: object) -> tuple[Tool, ...]:
    """Return the tools of a dialogue: a list of objects, or such a list as a JSON string."""
    if isinstance(value, str) and value:
        value = _parsed(value, '"tools"')
    if value in EMPTY:
        return ()
    if not isinstance(value, list):
        raise Unusable("not an object", f'"tools" is {named(value)}; expected a list of objects')
    for number, tool in enumerate(value, 1):
        if not isinstance(tool, dict):
            raise Unusable("not an object", f'tool {number} of "tools" is {named(tool)}')
    _check_unicode(value, '"tools"')
    return tuple(value)


def _calls(value: object, number: int) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise Unusable("not an object", f"the tool_calls of message {number} are {named(value)}")
    return [_call(call, f"call {n} of message {number}") for n, call in enumerate(value, 1)]


def _call(call: object, what: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        raise Unusable(
            "not an object",
            f'{what} is {named(call)}; expected {{"type": "function", "function": {{"name": "…", '
            '"arguments": "{…}"}}',
        )
    for where, known in ((call, ("id", "type", "function")), (function, ("name", "arguments"))):
        for key, found in where.items():
            if key not in known and found not in EMPTY:
                raise Unusable("unknown key", f"{what} has the key {quoted(key)}; leave it out")
    if call.get("type", "function") not in ("function", None):
        raise Unusable("unknown key", f"{what} is of type {quoted(call['type'])}, not a function")
    arguments = function.get("arguments")
    if isinstance(arguments, str) and arguments:
        arguments = _parsed(arguments, f"the arguments of {what}")
    arguments = {} if arguments in EMPTY else arguments
    if not isinstance(arguments, dict):
        raise Unusable(
            "not an object",
            f"the arguments of {what} are {named(arguments)}; expected an object, or its JSON",
        )
    _check_unicode(arguments, f"the arguments of {what}")
    name = string_of(function.get("name"), f"the name in {what}")
    kept: dict[str, Any] = {"type": "function", "function": {"name": name, "arguments": arguments}}
    if call.get("id") not in EMPTY:
        kept["id"] = string_of(call["id"], f"the id of {what}")
    return kept


def _parsed(text: str, what: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise Unusable("malformed JSON", f"{what}: {error}; expected JSON in the string") from error


def _check_unicode(value: object, what: str) -> None:
    """Raise Unusable if a string within a value cannot be encoded as UTF-8."""
    string_of(json.dumps(value, ensure_ascii=False), what)
