"""Names and contents from outside, made safe to print on a terminal."""

from __future__ import annotations

import re

from rich.text import Text

UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Characters that could control a terminal or reverse text: all controls but tab and line feed; and
lone surrogates, which stand for undecodable bytes in names and cannot be printed."""


def escape_control_chars(text: str) -> str:
    """Return the text with every unsafe character written as ⟨U+001B⟩."""
    return UNSAFE.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


def as_rich_text(text: str, style: str = "") -> Text:
    """Return the escaped text for a rich console, which then reads no markup in it."""
    return Text(escape_control_chars(text), style)
