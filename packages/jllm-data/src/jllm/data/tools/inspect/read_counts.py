"""Read the record counts of a conversion from the info files."""

from __future__ import annotations

import json

from jllm.data.format.limits import MAX_INFO_BYTES
from jllm.data.format.record_counts import RecordCounts, stated_counts
from jllm.data.storage.paths import Location, data_files, read_bytes

SHOWN_EXAMPLES = 20
"""Dropped records that are shown."""


def read_account(folder: Location) -> RecordCounts | None:
    """Return the sum over the info files of a data set; None if one has no record counts.

    `folder` may be the URL of one info file. Files written by other tools have no counts. Raises
    ValueError, naming the file, for damaged counts.
    """
    total = RecordCounts()
    for path in data_files(folder)[1]:
        content = json.loads(read_bytes(path, MAX_INFO_BYTES))
        if "records" not in content:
            return None
        total.add(stated_counts(content, str(path)))
    return total
