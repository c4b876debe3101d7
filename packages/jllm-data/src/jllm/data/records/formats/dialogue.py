"""What every form of a dialogue becomes, and the roles that there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jllm.data.records.unusable import Unusable, quoted

ROLES = ("system", "user", "assistant", "tool")

MESSAGES = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", …}]}'
"""The form of a dialogue, for a person."""
ONE_A_LINE = "write one record a line (`jq -c '.[]'`)"

Message = dict[str, Any]
"""{"role": …, "content": …}, as chat templates take it. Where the record has them, also "name", the
"tool_calls" of an answer (a list of objects; its "content" may then be None), and the
"tool_call_id" of what a tool says."""
Tool = dict[str, Any]
"""The description of a tool that the model may call, as chat templates take it."""


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """The messages of a record, the tools they may call, and the keys that were not used."""

    messages: list[Message]
    tools: tuple[Tool, ...] = ()
    unused: tuple[str, ...] = ()


def role_of(role: object, number: int) -> str:
    """Return the role of message `number`. Raises Unusable where there is no such."""
    if role not in ROLES:
        raise Unusable(
            "unknown role", f"message {number} is by {quoted(role)}; expected {', '.join(ROLES)}"
        )
    return str(role)
