"""JSON files with the digest of their own content, which reveals any changed byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "info_digest"
"""The key of the digest, always the last: blake2b (16 bytes) of the text without it."""


def sealed(content: Mapping[str, Any]) -> str:
    """Return the file's text: indented JSON, with the digest of the text without the digest."""
    bare = {key: value for key, value in content.items() if key != SEAL}
    return _text(bare | {SEAL: _digest(_text(bare))})


def broken_seal(text: str) -> str | None:
    """Return a message where a sealed file's text is damaged; None where not, or without a seal."""
    content = json.loads(text)
    if SEAL not in content:
        return None
    if sealed(content) != text:
        return f"{SEAL} is {content[SEAL]!r}, but the text is not the one that was written"
    return None


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
