"""Check that the tokenizer kept in a data set is the one that its files name; find its size."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from jllm.data.format.digests import file_digest
from jllm.data.format.file_names import (
    DIGESTS,
    STATED_TOKENIZER,
    TOKENIZER_FILES,
    TOKENIZER_FOLDER,
    VOCABULARY,
)
from jllm.data.format.sealed_json import SEAL
from jllm.data.reading.footer import Footer
from jllm.data.storage.paths import local_path
from jllm.data.tokenizer.load import load_tokenizer
from jllm.data.tools.verify.check_info import check_seal


def check_tokenizers(path: Path, footers: Sequence[Footer]) -> tuple[list[str], int | None]:
    """Return (findings, an exclusive upper bound of all ids); the bound is None without a
    tokenizer.

    A tokenizer must lie beside files that name their special tokens, as all files written by jllm
    do. For every `tokenizer/` folder in the data set, the files are compared with their digests;
    then the tokenizer is loaded and compared with the metadata of the parquet files. (Its template
    is not: that digest also depends on --template_kwargs.)
    """
    metadata = footers[0].metadata if footers else None
    findings, sizes, seen = list[str](), list[int](), set[tuple[str, ...]]()
    needed = {
        local_path(footer.path).parent / TOKENIZER_FOLDER
        for footer in footers
        if footer.metadata is not None and footer.metadata.special_tokens_digest
    }
    found = {
        file.parent
        for name in (VOCABULARY, DIGESTS)
        for file in path.rglob(f"{TOKENIZER_FOLDER}/{name}")
    }
    for folder in sorted(needed | found):
        changed = list(_changed_files(folder, needed=folder in needed))
        findings += changed
        digests = tuple(file_digest(one) for one in sorted(folder.glob("*")) if one.is_file())
        if changed or digests in seen:  # parts have the same one
            continue
        seen.add(digests)
        try:
            tokenizer = load_tokenizer(str(folder))
        except (ValueError, OSError) as error:
            findings.append(f"{folder}: cannot be loaded ({error})")
            continue
        sizes.append(max(tokenizer.core.get_vocab(with_added_tokens=True).values()) + 1)
        if metadata is not None:
            for what, have, stated in (
                ("tokenizer", tokenizer.digest, metadata.tokenizer_digest),
                ("special tokens", tokenizer.specials_digest, metadata.special_tokens_digest),
            ):
                if stated and have != stated:
                    findings.append(
                        f"{folder}: the digest of the {what} is {have}, the parquet files state "
                        f"{stated}"
                    )
    return findings, max(sizes, default=None)


def _changed_files(folder: Path, *, needed: bool) -> Iterator[str]:
    path = folder / DIGESTS
    if not path.exists():
        if needed:  # else written by another tool
            yield f"{path}: missing; jllm keeps the tokenizer beside the rows that it made"
        return
    broken = list(check_seal(path))
    yield from broken
    digests = {} if broken else json.loads(path.read_text(encoding="utf-8"))
    digests.pop(SEAL, None)
    digests.pop(STATED_TOKENIZER, None)
    if not broken:
        for name in TOKENIZER_FILES:
            if name not in (*digests, DIGESTS) and (folder / name).exists():
                yield f"{folder / name}: {DIGESTS} does not state it; it was put there later"
    for name, stated in digests.items():
        file = folder / name
        found = file_digest(file) if file.is_file() else "missing"
        if found != stated:
            yield f"{file}: its digest is {found}, {DIGESTS} states {stated}"
