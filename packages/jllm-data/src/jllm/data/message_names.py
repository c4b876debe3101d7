"""Names of messages ("name" beside role and content): left out where a template leaves them out."""

from __future__ import annotations

from collections.abc import Sequence

from jllm.data.chat_template import ChatRefused, ChatTemplate
from jllm.data.record_forms import Message


def without_names(template: ChatTemplate, messages: Sequence[Message]) -> Sequence[Message]:
    """The messages without their names.

    Raises ChatRefused where the template writes them (a dialogue with names is rendered twice).
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
