"""Small results kept in the user's cache folder; whatever is wrong there, they are made again.

`$XDG_CACHE_HOME/jllm` (else `~/.cache/jllm`) holds a folder a kind of result and a file an entry,
named by the digest of all that the result depends on and sealed by its own digest (`state_file`: no
pickle). An entry that is absent, damaged or unreadable is none; where nothing can be written,
nothing is. The folder may be removed at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jllm.data.runtime.state_file import load_state, save_state

ENTRIES = 16
"""Files of a kind that are kept, the newest; one has a few megabytes."""


def cache_key(*parts: object) -> str:
    """Return what an entry is found by: the digest of values that JSON can say."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def recall(kind: str, key: str, names: Sequence[str]) -> dict[str, Any] | None:
    """Return the entry, a dict of these names; None where there is none that is whole."""
    path = _path(kind, key)
    try:
        entry = None if path is None else load_state(path)
    except OSError:
        return None
    return entry if isinstance(entry, dict) and entry.keys() == set(names) else None


def remember(kind: str, key: str, entry: dict[str, Any]) -> None:
    """Keep an entry (what JSON can say), if that is possible, and drop the oldest."""
    path = _path(kind, key)
    if path is None:
        return
    new = path.with_name(f"{key}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            save_state(new, entry)
            new.replace(path)
        finally:
            for left in path.parent.glob(f"{new.name}*"):
                left.unlink()
        for old in sorted(path.parent.iterdir(), key=_age)[ENTRIES:]:
            old.unlink(missing_ok=True)


def _path(kind: str, key: str) -> Path | None:
    """Return where an entry lies; None where the user has no folder for it."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):
        root = os.path.expanduser("~/.cache")
    return Path(root, "jllm", kind, key) if os.path.isabs(root) else None


def _age(path: Path) -> float:
    """For sorting, the newest first."""
    return -path.stat().st_mtime
