"""A JSON value in a file that is written whole or not at all.

The first line is the digest of the rest, so a file left incomplete by a stopped machine is never
taken for a value.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any


def save_state(path: Path, value: Any, *, durable: bool = False) -> None:
    """Replace the file's content by `value`.

    `durable`: wait until it would survive a stop of the machine. Raises OSError.
    """
    text = json.dumps(value).encode()
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(_digest(text) + b"\n" + text)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    new.replace(path)


def load_state(path: Path) -> Any | None:
    """Return the value that `save_state` wrote; None where the file is missing or damaged."""
    if not path.is_file():
        return None
    digest, _, text = path.read_bytes().partition(b"\n")
    return json.loads(text) if digest == _digest(text) else None


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).hexdigest().encode()
