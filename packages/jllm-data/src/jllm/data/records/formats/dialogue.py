"""The common representation of all dialogue formats, and the roles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jllm.data.records.unusable import Unusable, quoted

ROLES = ("system", "user", "assistant", "tool")

MESSAGES = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", …}]}'
"""The form of a dialogue, for error messages."""
ONE_A_LINE = "write one record a line (`jq -c '.[]'`)"

Message = dict[str, Any]
"""{"role": …, "content": …}, as chat templates expect it. If the record has them, also "name", an
answer's "tool_calls" (a list of objects; "content" may then be None), and a tool message's
"tool_call_id"."""
Tool = dict[str, Any]
"""The description of a tool that the model may call, as chat templates expect it."""


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """The messages of a record, the tools they may call, and the unused keys."""

    messages: list[Message]
    tools: tuple[Tool, ...] = ()
    unused: tuple[str, ...] = ()


def role_of(role: object, number: int) -> str:
    """Return the role of message `number`. Raises Unusable for an unknown role."""
    if role not in ROLES:
        raise Unusable(
            "unknown role", f"message {number} is by {quoted(role)}; expected {', '.join(ROLES)}"
        )
    return str(role)
