"""Recognize records of another kind than --type, and name the --type that they need."""

from __future__ import annotations

from jllm.data.format.schema import Kind

_DIALOGUE_KEYS = ("messages", "conversations", "instruction")
_ROLES = {"system", "user", "assistant", "tool"}
_NAMES: dict[Kind, str] = {"pretrain": "a text", "ft": "a chat", "rl": "an RL prompt"}


def other_kind(value: object, kind: Kind) -> str:
    """Return an error message if a JSON value is a record of another kind than `kind`.

    Returns "" if it is of this kind, or of none that can be recognized.
    """
    found = _look(value)
    # A dialogue with an "id" may be a chat or a prompt, so the parser of the kind decides.
    if found is None or found == kind or (kind == "rl" and found == "ft"):
        return ""
    return (
        f"{_NAMES[found]} among records of --type {kind}, which expects {_NAMES[kind]} a line: "
        f"convert this file with --type {found}"
    )


def _look(value: object) -> Kind | None:
    if isinstance(value, dict):
        if any(key in value for key in _DIALOGUE_KEYS):
            return "ft" if "text" not in value else None
        return "pretrain" if isinstance(value.get("text"), str) else None
    if not isinstance(value, list) or not value:
        return None
    first = value[0]
    if isinstance(first, int) and not isinstance(first, bool):
        return "rl"
    turns = isinstance(first, dict) and len(first) == 1 and set(first) <= _ROLES
    return "ft" if turns else None
