"""Dialogues with tools, their descriptions and calls: each one is rendered.

How a template uses calls and descriptions is beyond the static analysis, so nothing is filled in
here: every dialogue is rendered, and refused where the prefix property fails. How the template
writes calls is found out once for each sequence of roles and numbers of calls: a rendering with
placeholders for contents, names and arguments must contain all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jllm.data.chat.refused import ChatRefused
from jllm.data.chat.rendered import Filled
from jllm.data.chat.template import SHAPES, ChatTemplate
from jllm.data.chat.typed_specials import hide_specials
from jllm.data.records.formats.dialogue import Message, Tool


def uses_tools(messages: Sequence[Message], tools: Sequence[Tool]) -> bool:
    """Return whether a dialogue has tools, tool calls or their results, which need this module."""
    return bool(tools) or any("tool_calls" in m or "tool_call_id" in m for m in messages)


def tool_examples(
    template: ChatTemplate, messages: Sequence[Message], tools: Sequence[Tool]
) -> list[Filled]:
    """Return the training examples of a dialogue that ends with an answer.

    Raises ChatRefused when the template refuses the dialogue, leaves out a call, an answer or the
    tools, or fails the prefix property.
    """
    refuse_unwritten(template, messages, tools)
    closings = _closings(template, messages, tools)
    (hidden, described), typed = _hide(template, messages, tools)
    found = template.render_examples(hidden, closings, marked=False, tools=described)
    texts = ["".join(piece.text for piece in example.pieces) for example in found]
    _check_hidden(typed, texts)
    return [Filled(example=example.restore(typed)) for example in found]


def tool_prompt(
    template: ChatTemplate, messages: Sequence[Message], tools: Sequence[Tool]
) -> Filled:
    """Return the prompt with which the model is asked for an answer. Raises ChatRefused."""
    refuse_unwritten(template, messages, tools)
    marked, marks = _marked(messages)
    text = template.render(marked, prompt=True, tools=tools)
    for number, message in enumerate(messages):
        if message["role"] != "assistant" or "tool_calls" in message:
            _check_marks(marks[number], text, number, message["role"])
    (hidden, described), typed = _hide(template, messages, tools)
    text = template.render(hidden, prompt=True, tools=described)
    _check_hidden(typed, [text])
    return Filled(example=template.cut(text, [], marked=False).restore(typed))


def refuse_unwritten(
    template: ChatTemplate, messages: Sequence[Message], tools: Sequence[Tool]
) -> None:
    """Raise ChatRefused where there are tools and the template does not write them."""
    if not tools:
        return
    first = next((n for n, m in enumerate(messages) if m["role"] == "assistant"), len(messages))
    asked = messages[:first]
    if template.render(asked, prompt=True, tools=tools) == template.render(asked, prompt=True):
        raise ChatRefused(
            "template refused",
            'the chat template does not write "tools"; use one that does, or leave them out',
        )


def _closings(
    template: ChatTemplate, messages: Sequence[Message], tools: Sequence[Tool]
) -> tuple[str, ...]:
    """Return what the template writes after each answer's text, or from its end of turn on."""
    known = template.tool_shapes
    shape = (*(_shape_of(message) for message in messages), ("tools", bool(tools)))
    if shape not in known:
        if len(known) >= SHAPES:
            known.clear()
        known[shape] = _learn(template, messages, tools)
    return known[shape]


def _shape_of(message: Message) -> tuple[str, Any]:
    calls = message.get("tool_calls", ())
    said = bool((message["content"] or "").strip()) if calls else True
    return message["role"], (said, len(calls), *sorted(message.keys()))


def _learn(
    template: ChatTemplate, messages: Sequence[Message], tools: Sequence[Tool]
) -> tuple[str, ...]:
    marked, marks = _marked(messages)
    whole = template.render(marked, prompt=False, tools=tools)
    closings = []
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            _check_marks(marks[number], whole, number, message["role"])
            continue
        text = template.render(marked[: number + 1], prompt=False, tools=tools)
        _check_marks(marks[number], text, number, "assistant")
        rest = text[max(text.rindex(mark) + len(mark) for mark in marks[number]) :]
        if "tool_calls" in message:
            plain = {"role": "assistant", "content": marks[number][0]}
            ended = template.render([*marked[:number], plain], prompt=False, tools=tools)
            rest = _from_end_of_turn(template, rest, ended.rpartition(marks[number][0])[2], number)
        closings.append(rest)
    return tuple(closings)


def _from_end_of_turn(template: ChatTemplate, rest: str, plain: str, number: int) -> str:
    """Return what follows a call, from the end-of-turn token of other answers on.

    Raises ChatRefused where the token is missing.
    """
    end = template.special.search(plain)
    at = rest.find(end[0]) if end else -1
    if end is None or at < 0:
        what = f"{end[0]!r}, which ends other answers" if end else "a special token"
        raise ChatRefused(
            "no end of turn",
            f"the chat template does not write {what}, after the calls of message {number + 1}, so "
            "a model could not learn to stop there",
        )
    return rest[at:]


def _check_marks(marks: Sequence[str], text: str, number: int, role: str) -> None:
    missing = [mark for mark in marks if mark not in text]
    if missing:
        what = "all" if len(missing) == len(marks) else "a part"
        raise ChatRefused(
            "no answer in the text" if role == "assistant" else "template refused",
            f"the chat template leaves out {what} of what message {number + 1} ({role}) says or "
            "calls",
        )


def _marked(messages: Sequence[Message]) -> tuple[list[Message], list[list[str]]]:
    """Return the messages with placeholders in texts and calls, and each one's placeholders."""
    count = 0

    def mark() -> str:
        nonlocal count
        count += 1
        return f"Zq{count - 1}qZ"  # ASCII, which no template escapes

    marked, marks = [], []
    for message in messages:
        mine: list[str] = []

        def new(into: list[str] = mine) -> str:
            into.append(mark())
            return into[-1]

        changed = dict(message)
        if "tool_calls" not in message or (message["content"] or "").strip():
            changed["content"] = new()
        if "tool_calls" in message:
            changed["tool_calls"] = [
                {**call, "function": {"name": new(), "arguments": {new(): new()}}}
                for call in message["tool_calls"]
            ]
        marked.append(changed)
        marks.append(mine)
    return marked, marks


def _hide(
    template: ChatTemplate, messages: Sequence[Message], tools: Sequence[Tool]
) -> tuple[tuple[list[Message], list[Tool]], dict[str, str]]:
    """Replace each special token's text in messages and tools by a private text."""
    both = [list(messages), list(tools)]
    hidden, typed = hide_specials(template.special, list(_strings(both)))
    if typed:
        texts = iter(hidden)
        both = _replaced(both, lambda: next(texts))
    return (both[0], both[1]), typed


def _check_hidden(typed: dict[str, str], texts: Sequence[str]) -> None:
    for private, text in typed.items():
        if not any(private in one for one in texts):
            raise ChatRefused(
                "template refused",
                f"the chat template changes {text!r}, which stands in a call or in the tools, so "
                "that it cannot be kept apart from the special token; take it out",
            )


def _strings(value: Any) -> Iterator[str]:
    """Yield all strings of a nested value, keys too, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from _strings(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _strings(one)


def _replaced(value: Any, following: Callable[[], str]) -> Any:
    """Return the value with its strings replaced by those from `following`, in `_strings` order."""
    if isinstance(value, str):
        return following()
    if isinstance(value, dict):
        return {following(): _replaced(one, following) for one in value.values()}
    if isinstance(value, list | tuple):
        return [_replaced(one, following) for one in value]
    return value
