"""Versions that a result depends on besides its input: the code of jllm.data, the libraries."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from pathlib import Path


@functools.cache
def code_digest() -> str:
    """Return the digest of all modules of `jllm.data`; code changes more often than its version."""
    folder, digest = Path(__file__).parents[1], hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def version_of(name: str) -> str:
    """Return the version of an installed distribution; empty where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
