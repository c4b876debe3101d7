"""Alpaca: `{"instruction": "…", "input": "…", "output": "…"}`, one question and its answer.

The question is the instruction, followed by a newline and the input if there is one. The answer is
the output. Both are kept unchanged, including white space.
"""

from __future__ import annotations

from jllm.data.records.formats.dialogue import Message
from jllm.data.records.unusable import EMPTY, Unusable, keys_of, string_of

USED = ("instruction", "input", "output")


def messages_of_alpaca(value: dict[str, object]) -> list[Message]:
    """Return the two messages of a record. Raises Unusable."""
    for key in ("instruction", "output"):
        if key not in value:
            raise Unusable("missing key", f'no key "{key}"; found {keys_of(value)}')
    question = string_of(value["instruction"], '"instruction"')
    if value.get("input") not in EMPTY:
        question += "\n" + string_of(value["input"], '"input"')
    answer = string_of(value["output"], '"output"')
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
