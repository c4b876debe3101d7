"""A nested value with numpy arrays in one file, which is there whole or not at all.

Dicts (keys: strings), lists, strings, numbers, None and arrays; no pickle. The file begins with the
digest of what follows, so what a stopped machine left is never taken for a value.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

_DIGEST_BYTES = 16
_ARRAY = "array"
_TEXT = "text"


def save_state(path: Path, value: Any, *, durable: bool = False) -> None:
    """Replace the file by `value`; `durable`: wait until a stop of the machine cannot undo it.

    Raises OSError.
    """
    arrays: list[np.ndarray] = []
    text = json.dumps(_without_arrays(value, arrays)).encode()
    named = {str(number): array for number, array in enumerate(arrays)}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **{_TEXT: np.frombuffer(text, np.uint8)}, **named)
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(hashlib.blake2b(content.getbuffer(), digest_size=_DIGEST_BYTES).digest())
        file.write(content.getbuffer())
        file.flush()
        if durable:
            os.fsync(file.fileno())
    new.replace(path)


def load_state(path: Path) -> Any | None:
    """What `save_state` wrote; None where there is no such file or it is damaged."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest() != digest:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        return _with_arrays(json.loads(held[_TEXT].tobytes()), held)


def _without_arrays(node: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(node, np.ndarray):
        arrays.append(node)
        return {_ARRAY: len(arrays) - 1}
    if isinstance(node, dict):
        assert node.keys() != {_ARRAY}
        return {key: _without_arrays(item, arrays) for key, item in node.items()}
    if isinstance(node, (list, tuple)):
        return [_without_arrays(item, arrays) for item in node]
    return node


def _with_arrays(node: Any, held: Any) -> Any:
    if isinstance(node, dict):
        if node.keys() == {_ARRAY}:
            return held[str(node[_ARRAY])]
        return {key: _with_arrays(item, held) for key, item in node.items()}
    if isinstance(node, list):
        return [_with_arrays(item, held) for item in node]
    return node
