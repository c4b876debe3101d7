"""A cache of small results in the user's cache folder; any fault there only costs recomputation.

`$XDG_CACHE_HOME/jllm` (else `~/.cache/jllm`) holds a folder for each kind of result and a file for
each entry. The file is named by the digest of everything that the result depends on, and sealed by
its own digest (`state_file`: no pickle). A damaged or unreadable entry counts as absent; where
nothing can be written, nothing is kept. The folder may be removed at any time.
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
"""The number of files kept of each kind, the newest; each has a few megabytes."""


def cache_key(*parts: object) -> str:
    """Return the key of an entry: the digest of JSON values."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def recall(kind: str, key: str, names: Sequence[str]) -> dict[str, Any] | None:
    """Return the entry, a dict with these names; None where there is no intact one."""
    path = _path(kind, key)
    try:
        entry = None if path is None else load_state(path)
    except OSError:
        return None
    return entry if isinstance(entry, dict) and entry.keys() == set(names) else None


def remember(kind: str, key: str, entry: dict[str, Any]) -> None:
    """Keep an entry (JSON values) if possible, and drop the oldest."""
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
    """Return the path of an entry; None where the user has no cache folder."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):
        root = os.path.expanduser("~/.cache")
    return Path(root, "jllm", kind, key) if os.path.isabs(root) else None


def _age(path: Path) -> float:
    """Return a key that sorts the newest file first."""
    return -path.stat().st_mtime
