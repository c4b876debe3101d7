"""Tokenizers that were loaded before, without Transformers (whose import takes a second or more).

What `TokenizerFacts` says of a folder is kept in the user's cache, by the bytes of the folder's
files, its name (Transformers looks at that too), the code here and the versions of all libraries
that have a part in loading. Another byte or version is another entry, so what is found is what
would be loaded. Chat templates are rendered by Transformers all the same.
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
"""Those by whose presence and version Transformers may load a tokenizer otherwise."""
READ = (".jinja", ".json", ".model", ".tiktoken", ".txt")
"""Files that a tokenizer may be made of; of others (weights) size and time count."""
READ_BYTES = 64 << 20
"""Larger files are not a tokenizer's either."""


@gc_paused()
def cached_tokenizer(name: str) -> TextTokenizer:
    """Return `load_tokenizer`, from the cache where the same folder was loaded before. Raises
    ValueError.

    Costs the reading of the folder's tokenizer and 25 ms a megabyte of its tokenizer.json.
    """
    folder = Path(os.path.expanduser(name))
    if not folder.is_dir():
        return wrap_tokenizer(load_by_transformers(name), name)
    key = _key(folder, name)
    facts = _recalled(key)
    if facts is not None:
        return TextTokenizer(name, facts, partial(load_by_transformers, name))
    tokenizer = wrap_tokenizer(load_by_transformers(name), name)
    if _key(folder, name) == key:  # else a file was changed while it was loaded
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
    """Return what each file of the folder is known by."""
    known: list[list[Any]] = []
    for path in sorted(folder.iterdir()):
        if path.is_file():
            found = path.stat()
            read = path.suffix in READ and found.st_size <= READ_BYTES
            known.append(
                [path.name, file_digest(path) if read else found.st_mtime_ns, found.st_size]
            )
    return known
