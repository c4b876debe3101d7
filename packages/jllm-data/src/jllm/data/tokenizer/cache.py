"""Cached tokenizers, loaded without Transformers (whose import takes a second or more).

The `TokenizerFacts` of a folder are kept in the user's cache. The key covers the bytes of the
folder's files, its name (which Transformers looks at too), the code of this package and the
versions of all libraries involved in loading. Any changed byte or version gives another entry, so a
cached entry equals what would be loaded. Chat templates are still rendered by Transformers.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from jllm.data.format.digests import file_digest
from jllm.data.runtime.memory import gc_paused
from jllm.data.runtime.user_cache import cache_key, recall, remember
from jllm.data.runtime.versions import code_digest, version_of
from jllm.data.tokenizer.load import (
    TextTokenizer,
    TokenizerFacts,
    load_by_transformers,
    wrap_tokenizer,
)

KIND = "tokenizers"
LIBRARIES = ("tokenizers", "transformers", "huggingface-hub", "sentencepiece", "tiktoken",
             "protobuf", "mistral-common")  # fmt: skip
"""Libraries whose presence and version may change how Transformers loads a tokenizer."""
READ = (".jinja", ".json", ".model", ".tiktoken", ".txt")
"""Suffixes of a tokenizer's files; of others (weights) only size and time count."""
READ_BYTES = 64 << 20
"""Larger files do not count as a tokenizer's either."""


@gc_paused()
def cached_tokenizer(name: str) -> TextTokenizer:
    """Do as `load_tokenizer`, from the cache where the same folder was loaded before.

    Costs reading the folder's tokenizer files and 25 ms for each megabyte of tokenizer.json. Raises
    ValueError.
    """
    folder = Path(os.path.expanduser(name))
    if not folder.is_dir():
        return wrap_tokenizer(load_by_transformers(name), name)
    key = _key(folder, name)
    facts = _recalled(key)
    if facts is not None:
        return TextTokenizer(name, facts, partial(load_by_transformers, name))
    tokenizer = wrap_tokenizer(load_by_transformers(name), name)
    if _key(folder, name) == key:  # otherwise a file was changed during loading
        remember(KIND, key, asdict(tokenizer.facts))
    return tokenizer


def _key(folder: Path, name: str) -> str:
    versions = [version_of(one) for one in LIBRARIES]
    return cache_key(code_digest(), versions, _files(folder), name)


def _recalled(key: str) -> TokenizerFacts | None:
    entry = recall(KIND, key, tuple(TokenizerFacts.__dataclass_fields__))
    if entry is None:
        return None
    entry["prefix_ids"] = tuple(entry["prefix_ids"])
    return TokenizerFacts(**entry)


def _files(folder: Path) -> list[list[Any]]:
    """Return what identifies each file of the folder."""
    known: list[list[Any]] = []
    for path in sorted(folder.iterdir()):
        if path.is_file():
            found = path.stat()
            read = path.suffix in READ and found.st_size <= READ_BYTES
            known.append(
                [path.name, file_digest(path) if read else found.st_mtime_ns, found.st_size]
            )
    return known
