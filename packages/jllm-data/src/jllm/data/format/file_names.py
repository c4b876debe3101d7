"""Names of a data set's files: rows, tokenizer, repartition plan.

A conversion's rows are in `<input>-<partition>-chunk-<number>.<compression>.parquet`. The number of
such files in a partition is known once it is written: up to a hundred are numbered with two digits;
with more, every number gets as many digits as the last, so that names sort like their rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TOKENIZER_FOLDER = "tokenizer"
VOCABULARY = "tokenizer.json"
DIGESTS = "digests.json"
"""The file in the tokenizer's folder with each file's name and digest, and STATED_TOKENIZER."""
STATED_TOKENIZER = "tokenizer_digest"
"""The key in DIGESTS of the tokenizer's digest in the rows' metadata."""
TOKENIZER_FILES = (
    VOCABULARY,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    DIGESTS,
)
"""The files kept of a tokenizer. The model's config.json too: Transformers chooses a tokenizer's
class by the model_type in it."""
REPARTITION_PLAN = "data.info"
"""The file that keeps the plan of a repartition."""
NAME_BYTES = 200
"""The longest prefix of output names in bytes; file systems allow 255 for the whole name."""
_NUMBERED = re.compile(r"(.*-\d{5,}-chunk-)(\d+)(\..*)")


def chunk_name(name: str, partition: int, compression: str, number: int) -> str:
    """Return the name of a file while the number of files is not known yet."""
    return f"{name}-{partition:05d}-chunk-{number:02d}.{compression}.parquet"


def wide_names(names: Sequence[str]) -> list[str]:
    """Return the files' names with numbers of the same length within each partition."""
    found = [_NUMBERED.fullmatch(name) for name in names]
    digits: dict[str, int] = {}
    for match in found:
        if match:
            digits[match[1]] = max(digits.get(match[1], 0), len(match[2]))
    return [
        f"{match[1]}{match[2].zfill(digits[match[1]])}{match[3]}" if match else name
        for name, match in zip(names, found, strict=True)
    ]


def rename_widely(folder: Path, files: Sequence[dict[str, Any]]) -> None:
    """Rename the `files` of one input (`FileInfo` as dicts) in `folder` to their `wide_names`."""
    names = wide_names([file["name"] for file in files])
    for file, name in zip(files, names, strict=True):
        if file["name"] != name:
            (folder / file["name"]).rename(folder / name)
            file["name"] = name


def check_output_name(name: str, given: str) -> None:
    """Raise ValueError about `given` where no file name may begin with `name`."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{given}: the name is not UTF-8, rename it") from error
    if length > NAME_BYTES:
        raise ValueError(f"{given}: outputs would begin with {length} bytes; rename it")
    if not name or name[0] in "._":
        raise ValueError(
            f"{given}: outputs would be called {name}-…, which readers pass over; rename it"
        )
