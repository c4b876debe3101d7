"""What the info files say of a conversion: its account of records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jllm.data.format.limits import MAX_INFO_BYTES
from jllm.data.storage.paths import Location, data_files, read_bytes

SHOWN_EXAMPLES = 20
"""Dropped records that are kept for showing."""


@dataclass(frozen=True, kw_only=True)
class DroppedRecord:
    """One record that was not used."""

    file: str
    line: int
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class StatedCounts:
    """The account of all info files together."""

    read: int
    written: int
    dropped: Mapping[str, int]
    """Reason → records."""
    truncated: Mapping[str, int]
    """What was cut off → records."""
    listed: tuple[DroppedRecord, ...]
    """The first dropped records."""
    tokens: int
    """Ids of the documents, overlaps not counted."""
    trained: int
    """Positions with a target."""


def read_account(folder: Location) -> StatedCounts | None:
    """The sum over the info files of a data set, None where one has no account (files by others).

    `folder` may be the URL of one info file.

    ValueError names the file and the key that is damaged.
    """
    found = []
    for path in data_files(folder)[1]:
        content = json.loads(read_bytes(path, MAX_INFO_BYTES))
        if "records" not in content:
            return None
        try:
            found.append(_account(content))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{path}: the account is damaged ({error!r}): convert again"
            ) from error
    dropped: Counter[str] = Counter()
    truncated: Counter[str] = Counter()
    for one in found:
        dropped.update(one.dropped)
        truncated.update(one.truncated)
    return StatedCounts(
        read=sum(one.read for one in found),
        written=sum(one.written for one in found),
        dropped=dict(sorted(dropped.items())),
        truncated=dict(sorted(truncated.items())),
        listed=tuple(record for one in found for record in one.listed)[:SHOWN_EXAMPLES],
        tokens=sum(one.tokens for one in found),
        trained=sum(one.trained for one in found),
    )


def _account(content: Mapping[str, Any]) -> StatedCounts:
    records = content["records"]
    return StatedCounts(
        read=int(records["read"]),
        written=int(records["written"]),
        dropped={str(reason): int(count) for reason, count in records["dropped"].items()},
        truncated={str(what): int(count) for what, count in records["truncated"].items()},
        listed=tuple(
            DroppedRecord(
                file=str(one["file"]),
                line=int(one["line"]),
                reason=str(one["reason"]),
                detail=str(one["detail"]),
            )
            for one in records.get("dropped_list", ())[:SHOWN_EXAMPLES]
        ),
        tokens=int(content["tokens"]),
        trained=int(content["trained_tokens"]),
    )
