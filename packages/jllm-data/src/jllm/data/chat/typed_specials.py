"""Special tokens' texts typed by a user, kept apart from those that the template writes."""

from __future__ import annotations

import re
from collections.abc import Sequence


def hide_specials(
    special: re.Pattern[str], texts: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """Replace each special token's text by a private one; return the texts and what was replaced.

    `special` matches the texts of special tokens.
    """
    typed: dict[str, str] = {}
    if not any(special.search(text) for text in texts):
        return list(texts), typed
    opening = next(
        mark for mark in map(chr, range(0xE010, 0xF8FF)) if not any(mark in text for text in texts)
    )

    def hide(found: re.Match[str]) -> str:
        private = f"{opening}{len(typed)}{opening}"
        typed[private] = found[0]
        return private

    return [special.sub(hide, text) for text in texts], typed
