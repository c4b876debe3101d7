"""Check an info file by itself, and its sums against the files that it lists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jllm.data.format.info import Info
from jllm.data.format.record_counts import MAX_EXAMPLES
from jllm.data.format.sealed_json import SEAL, broken_seal
from jllm.data.storage.paths import local_path
from jllm.data.tools.verify.tasks import Checked


def check_content(info: Info) -> Iterator[str]:
    """Check seal, number of rows, and the record counts: read = written + Σ dropped."""
    text = local_path(info.path).read_text(encoding="utf-8")
    broken = broken_seal(text)
    if broken:
        yield f"{info.path}: {broken}"
    content = json.loads(text)
    if info.files is not None:
        if SEAL not in content and any(file.digest for file in info.files):
            yield f"{info.path}: has no {SEAL!r}; it was changed after it was written"
        listed = sum(file.num_samples for file in info.files)
        if listed != info.num_samples:
            yield f"{info.path}: num_samples is {info.num_samples}, its files have {listed}"
    if "records" in content:
        yield from _check_account(content["records"], local_path(info.path))


def check_seal(path: Path) -> Iterator[str]:
    """Yield a finding if a sealed file of jllm's beside the data has changed."""
    try:
        text = path.read_text(encoding="utf-8")
        broken = broken_seal(text) or (None if SEAL in json.loads(text) else f"has no {SEAL!r}")
    except ValueError as error:
        broken = f"not a JSON file ({error})"
    if broken:
        yield f"{path}: {broken}"


def check_sums(info: Info, checked: Sequence[Checked]) -> Iterator[str]:
    """Yield differences between the totals of an info file and its files (all without
    findings).
    """
    content = json.loads(local_path(info.path).read_text(encoding="utf-8"))
    most = max((one.max_num_blocks for one in checked), default=0)
    stated = content.get("max_num_blocks")
    if isinstance(stated, int) and most > stated:
        yield f"{info.path}: max_num_blocks is {stated}, a row has {most} entries in cu_seqlens"
    if "trained_tokens" in content:
        targets = sum(one.targets for one in checked)
        if targets != content["trained_tokens"]:
            yield (
                f"{info.path}: trained_tokens is {content['trained_tokens']}, the rows have "
                f"{targets} positions with a target"
            )


def _check_account(records: Any, path: Path) -> Iterator[str]:
    try:
        read, written = int(records["read"]), int(records["written"])
        dropped = {str(reason): int(count) for reason, count in records["dropped"].items()}
        listed = list(records["dropped_list"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        yield f"{path}: records is damaged ({error!r})"
        return
    gone = sum(dropped.values())
    if read != written + gone or min(written, gone) < 0:
        yield (
            f"{path}: the account is wrong: {read} records read, but {written} written and {gone} "
            "dropped"
        )
    if len(listed) != min(gone, MAX_EXAMPLES) or not _known_reasons(listed, dropped):
        yield f"{path}: dropped_list has {len(listed)} entries that do not fit {dropped}"


def _known_reasons(listed: Sequence[Mapping[str, Any]], dropped: Mapping[str, int]) -> bool:
    return all(isinstance(entry, dict) and entry.get("reason") in dropped for entry in listed)
