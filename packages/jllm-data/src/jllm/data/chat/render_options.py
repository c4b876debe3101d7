"""Options for rendering dialogues: answers with and without reasoning, and messages with names.

Templates of models that can answer either way (Qwen3, SmolLM3, GLM-4.5) read the variable
`enable_thinking`. Where it is false, the prompt ends with an empty think block, and the model
answers after it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jinja2 import meta

from jllm.data.chat.jinja_ast import parse_template
from jllm.data.chat.refused import ChatRefused
from jllm.data.chat.template import ChatTemplate
from jllm.data.records.formats.dialogue import Message

SWITCH = "enable_thinking"
REASONING_END = "</think>"


def has_reasoning(messages: Sequence[Message]) -> bool:
    """Return whether any answer of a dialogue begins with reasoning."""
    return any(
        message["role"] == "assistant" and REASONING_END in (message["content"] or "")
        for message in messages
    )


def thinking_off(template: ChatTemplate) -> ChatTemplate:
    """Return the template as it is served with thinking switched off.

    Raises ValueError where it has no such switch, or where the switch is already set.
    """
    name = template.tokenizer.name
    if SWITCH in template.variables:
        raise ValueError(
            f"--auto_no_thinking chooses {SWITCH} for every chat; leave it out of --template_kwargs"
        )
    tree = parse_template(template.source)
    off = dataclasses.replace(
        template, variables={**template.variables, SWITCH: False}, _shapes={}, tool_shapes={}
    )
    asked: list[Message] = [{"role": "user", "content": "Who are you?"}]
    try:
        known = tree is None or SWITCH in meta.find_undeclared_variables(tree)
        if known and template.render(asked, prompt=True) != off.render(asked, prompt=True):
            return off
    except ChatRefused as error:
        raise ValueError(f"--auto_no_thinking: --tokenizer {name}: {error}") from error
    raise ValueError(
        f"--auto_no_thinking: the chat template of --tokenizer {name} writes no think block when "
        f"{SWITCH} is false; leave the flag out"
    )


def without_names(template: ChatTemplate, messages: Sequence[Message]) -> Sequence[Message]:
    """Return the messages without their names.

    Raises ChatRefused where the template writes the names (a dialogue with names is rendered
    twice).
    """
    if not any("name" in message for message in messages):
        return messages
    bare = [{key: message[key] for key in ("role", "content")} for message in messages]
    asked = messages[-1]["role"] != "assistant"
    if template.render(messages, prompt=asked) != template.render(bare, prompt=asked):
        raise ChatRefused(
            "template refused",
            'the chat template writes the "name" of a message, and names are not read; leave them '
            "out, or write them into the content",
        )
    return bare
