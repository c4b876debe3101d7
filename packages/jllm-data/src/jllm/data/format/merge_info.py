"""Info files of several data sets → one info file for all their rows, written to new files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jllm.data.format.differences import differences
from jllm.data.format.info import FileInfo, file_entries
from jllm.data.format.record_counts import RecordCounts, stated_counts
from jllm.data.format.sealed_json import SEAL

_SUMS = ("tokens", "trained_tokens")
_REPLACED = ("num_samples", "max_num_blocks", "files", "records", SEAL, *_SUMS)
SHUFFLED_TOGETHER = "rows of one tokenizer, kind and max_len are shuffled together"


def merge_infos(
    contents: Mapping[Path, Mapping[str, Any]], files: Sequence[FileInfo], max_num_blocks: int
) -> dict[str, Any]:
    """Return the info file's content for `files`, which hold all rows of the old ones.

    Statements of the old info files about all rows (kind, max_len, digests of the tokenizer, keys
    that this version does not know) must be equal. The record counts are added if every info file
    has them. Raises ValueError that names two info files that differ.
    """
    paths = list(contents)
    first = contents[paths[0]]
    for path in paths[1:]:
        if found := differences(contents[path], first, but=_REPLACED):
            raise ValueError(f"{path} and {paths[0]} differ in {found[0]}; {SHUFFLED_TOGETHER}")
    merged = dict(first) | {
        "num_samples": sum(file.num_samples for file in files),
        "max_num_blocks": max_num_blocks,
        "files": file_entries(files),
    }
    every = list(contents.values())
    for key in ("records", *_SUMS):
        if not all(key in content for content in every):
            merged.pop(key, None)
        elif key == "records":
            merged[key] = _add_records(contents)
        else:
            merged[key] = sum(content[key] for content in every)
    return merged


def read_contents(paths: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    """Return the JSON objects of info files that `read_info` accepted."""
    return {path: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def _add_records(contents: Mapping[Path, Mapping[str, Any]]) -> dict[str, Any]:
    total = RecordCounts()
    for path, content in contents.items():
        total.add(stated_counts(content, str(path)))
    return total.stated()
