"""The tokenizer that a data set keeps: is it the one that the files name, and how large is it?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from jllm.data.digest import file_digest
from jllm.data.footer import Footer
from jllm.data.sealed_json import SEAL
from jllm.data.tokenizer import load_tokenizer
from jllm.data.tokenizer_files import (
    DIGESTS,
    STATED_TOKENIZER,
    TOKENIZER_FOLDER,
    VOCABULARY,
)
from jllm.data.verify_info import check_seal


def check_tokenizers(path: Path, footers: Sequence[Footer]) -> tuple[list[str], int | None]:
    """(findings, the number that all ids are below), the latter None without a tokenizer.

    Of every folder `tokenizer/` in the data set the files are compared with their digests; then it
    is loaded, and compared with the metadata of the parquet files.
    """
    metadata = footers[0].metadata if footers else None
    findings, sizes, seen = list[str](), list[int](), set[tuple[str, ...]]()
    for file in sorted(path.rglob(f"{TOKENIZER_FOLDER}/{VOCABULARY}")):
        changed = list(_changed_files(file.parent))
        findings += changed
        digests = tuple(file_digest(one) for one in sorted(file.parent.glob("*")))
        if changed or digests in seen:  # parts have the same one
            continue
        seen.add(digests)
        try:
            tokenizer = load_tokenizer(str(file.parent))
        except (ValueError, OSError) as error:
            findings.append(f"{file.parent}: cannot be loaded ({error})")
            continue
        sizes.append(max(tokenizer.core.get_vocab(with_added_tokens=True).values()) + 1)
        if metadata is not None and tokenizer.digest != metadata.tokenizer_digest:
            findings.append(
                f"{file.parent}: the tokenizer's digest is {tokenizer.digest}, the parquet files "
                f"state {metadata.tokenizer_digest}"
            )
    return findings, max(sizes, default=None)


def _changed_files(folder: Path) -> Iterator[str]:
    path = folder / DIGESTS
    if not path.exists():  # written before there was one, or by others
        return
    broken = list(check_seal(path))
    yield from broken
    digests = {} if broken else json.loads(path.read_text(encoding="utf-8"))
    digests.pop(SEAL, None)
    digests.pop(STATED_TOKENIZER, None)
    for name, stated in digests.items():
        found = file_digest(folder / name) if (folder / name).is_file() else "missing"
        if found != stated:
            yield f"{folder / name}: its digest is {found}, {DIGESTS} states {stated}"
