"""The tokenizer that a data set keeps: is it the one that the files name, and how large is it?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from jllm.data.digest import file_digest
from jllm.data.footer import Footer
from jllm.data.sealed_json import SEAL, broken_seal
from jllm.data.tokenizer import load_tokenizer
from jllm.data.tokenizer_files import DIGESTS, TOKENIZER_FOLDER, VOCABULARY


def check_tokenizers(path: Path, footers: Sequence[Footer]) -> tuple[list[str], int | None]:
    """(findings, the number that all ids are below), the latter None without a tokenizer.

    Of every folder `tokenizer/` in the data set the files are compared with their digests; then it
    is loaded, and compared with the metadata of the parquet files.
    """
    metadata = footers[0].metadata if footers else None
    findings, sizes = list[str](), list[int]()
    for file in sorted(path.rglob(f"{TOKENIZER_FOLDER}/{VOCABULARY}")):
        changed = list(_changed_files(file.parent))
        findings += changed
        if changed:
            continue
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
    try:
        text = path.read_text(encoding="utf-8")
        digests, broken = json.loads(text), broken_seal(text)
    except ValueError as error:
        yield f"{path}: not a JSON file ({error})"
        return
    if broken or SEAL not in digests:
        yield f"{path}: {broken or f'has no {SEAL!r}'}"
        return
    del digests[SEAL]
    for name, stated in digests.items():
        found = file_digest(folder / name) if (folder / name).is_file() else "missing"
        if found != stated:
            yield f"{folder / name}: its digest is {found}, {DIGESTS} states {stated}"
