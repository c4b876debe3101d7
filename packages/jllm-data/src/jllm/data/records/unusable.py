"""Why a value cannot be used as a record, and how values are shown in messages to the user."""

from __future__ import annotations

import json

EMPTY = (None, "", [], {})
"""Values that make an extra key meaningless; not 0 or false, which do mean something
(`"train": false`)."""
SHOWN = 40
"""Characters shown of a key or role."""
SHOWN_RECORD = 200
"""Characters shown of a record."""


class Unusable(Exception):
    """A value that cannot be used as a record of its kind."""

    def __init__(self, reason: str, detail: str, *, fatal: bool = True, line: int = 0) -> None:
        """`line`: the problem's line, counted from the record's first (0)."""
        super().__init__(detail)
        self.reason, self.detail, self.fatal, self.line = reason, detail, fatal, line


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the JSON object with these keys (json's object_pairs_hook; costs 1 µs a record).

    Raises Unusable for a duplicate key, of which json would silently keep the last.
    """
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Unusable("malformed JSON", f"an object has the key {quoted(twice)} twice")
    return value


def string_of(value: object, what: str) -> str:
    """Return the value if it is a string that can be encoded as UTF-8. Raises Unusable."""
    if not isinstance(value, str):
        raise Unusable("not a string", f"{what} is {named(value)}; expected a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Unusable(
                "invalid Unicode", f"{what} holds a lone surrogate (\\u{ord(value[error.start]):x})"
            ) from error
    return value


def named(value: object) -> str:
    """Return the type of a value in words."""
    if isinstance(value, dict):
        return f"an object with {keys_of(value)}"
    names = {list: "a list", str: "a string", bool: "a truth value", type(None): "null"}
    names |= {int: "a number", float: "a number"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "binary data")


def keys_of(value: dict[str, object]) -> str:
    """Return the first keys of an object."""
    return "keys " + ", ".join(map(quoted, list(value)[:6])) if value else "no keys"


def quoted(value: object) -> str:
    """Return a string for display: short and printable."""
    if not isinstance(value, str):
        return named(value)
    return _printable(json.dumps(shortened(value), ensure_ascii=False))


def shortened(text: str) -> str:
    """Return the text, truncated to `SHOWN` characters."""
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def key_name(key: str) -> str:
    """Return a key as it is listed in the record counts: short and printable."""
    return _printable(shortened(key))


def shown(record: object) -> str:
    """Return a record as JSON, truncated to `SHOWN_RECORD` characters."""
    text = json.dumps(record, ensure_ascii=False, default=str)
    return _printable(text if len(text) <= SHOWN_RECORD else text[:SHOWN_RECORD] + "…")


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
