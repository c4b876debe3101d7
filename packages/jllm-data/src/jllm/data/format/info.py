"""The `<name>_info.json` beside the parquet files: their content and the record counts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from jllm.data.format.limits import MAX_INFO_BYTES, MAX_LENGTH
from jllm.data.format.record_counts import RecordCounts
from jllm.data.format.schema import FileMetadata, fields_of
from jllm.data.format.sealed_json import sealed
from jllm.data.storage.paths import Location, read_bytes


@dataclass(frozen=True, kw_only=True)
class RowGroupInfo:
    """One row group: the number of its rows and the digest of their values."""

    num_samples: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class FileInfo:
    """One parquet file."""

    name: str
    bytes: int | None
    """None where the info file does not state it (files written by other tools); so is `digest`."""
    digest: str | None
    """The digest of all its bytes: `digests.file_digest`."""
    row_groups: tuple[RowGroupInfo, ...]

    @property
    def num_samples(self) -> int:
        """The number of rows in the file."""
        return sum(group.num_samples for group in self.row_groups)


def file_info(fields: Mapping[str, Any]) -> FileInfo:
    """Return the FileInfo whose `dataclasses.asdict` this is."""
    values = dict(fields)
    values["row_groups"] = tuple(RowGroupInfo(**group) for group in fields["row_groups"])
    return FileInfo(**values)


def info_text(
    metadata: FileMetadata,
    files: Sequence[FileInfo],
    account: RecordCounts,
    max_num_blocks: int,
) -> str:
    """Return the info file's JSON text.

    `max_num_blocks`: the length of the longest `cu_seqlens` of a row.
    """
    info: dict[str, Any] = {
        "format_version": 1,
        "num_samples": sum(file.num_samples for file in files),
        "max_len": metadata.max_len,
        "max_num_blocks": max_num_blocks,
        "fields": list(fields_of(metadata.kind)),
        "kind": metadata.kind,
        "tokenizer_digest": metadata.tokenizer_digest,
        "chat_template_digest": metadata.chat_template_digest,
        "special_tokens_digest": metadata.special_tokens_digest,
        "document_end_id": metadata.document_end_id,
        "files": file_entries(files),
        "records": account.stated(),
        "tokens": account.tokens,
        "trained_tokens": account.trained_tokens,
    }
    return sealed(info)


def file_entries(files: Sequence[FileInfo]) -> list[dict[str, Any]]:
    """Return the entries for parquet files under "files" in an info file."""
    return [
        {
            "name": file.name,
            "num_samples": file.num_samples,
            "bytes": file.bytes,
            "digest": file.digest,
            "row_groups": [
                {"num_samples": group.num_samples, "digest": group.digest}
                for group in file.row_groups
            ],
        }
        for file in files
    ]


@dataclass(frozen=True, kw_only=True)
class Info:
    """One info file."""

    path: Location
    num_samples: int
    max_len: int
    fields: tuple[str, ...]
    """The columns that it states; empty where it states none."""
    files: tuple[FileInfo, ...] | None
    """None where it lists none (files written by other tools)."""
    stated: Mapping[str, Any]
    """Those keys of STATED that it states, with their values."""

    @property
    def listed(self) -> dict[Location, FileInfo]:
        """The files that it lists, by their location."""
        return {self.path.parent / file.name: file for file in self.files or ()}


STATED = (
    "kind",
    "tokenizer_digest",
    "chat_template_digest",
    "special_tokens_digest",
    "document_end_id",
)

HOW_TO_WRITE = (
    'write a data_info.json beside the parquet files: {"num_samples": <rows of all files>, '
    '"max_len": <most ids a row holds>, "max_num_blocks": <most documents a row holds, plus 1>, '
    '"fields": ["input_ids", "cu_seqlens"]}'
)


def read_info(path: Location) -> Info:
    """Read one info file. Raises ValueError with the file and the key that is missing or wrong."""
    try:
        content = json.loads(read_bytes(path, MAX_INFO_BYTES).decode("utf-8"))
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path}: not a JSON file ({error}); {HOW_TO_WRITE}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a {type(content).__name__}, expected an object")
    max_len = _count(content, "max_len", path)
    if not 2 <= max_len <= MAX_LENGTH:
        raise ValueError(f"{path}: max_len is {max_len}, expected 2 to {MAX_LENGTH}")
    files = content.get("files")
    fields = content.get("fields", [])
    if not isinstance(fields, list) or not all(isinstance(name, str) for name in fields):
        raise ValueError(f"{path}: fields is {fields!r}, expected a list of column names")
    return Info(
        path=path,
        num_samples=_count(content, "num_samples", path),
        max_len=max_len,
        fields=tuple(fields),
        files=None if files is None else _listed_files(files, path),
        stated={key: content[key] for key in STATED if key in content},
    )


def _listed_files(files: Any, path: Location) -> tuple[FileInfo, ...]:
    try:
        return tuple(_listed_file(file, path) for file in files)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f'{path}: "files" is damaged ({error!r}), expected [{{"name", "num_samples", '
            '"row_groups": [{"num_samples", "digest"}]}]: convert again'
        ) from error


def _listed_file(file: Any, path: Location) -> FileInfo:
    found = FileInfo(
        name=_inside(file["name"], path),
        bytes=_count(file, "bytes", path) if "bytes" in file else None,
        digest=str(file["digest"]) if "digest" in file else None,
        row_groups=tuple(
            RowGroupInfo(
                num_samples=_count(group, "num_samples", path), digest=str(group["digest"])
            )
            for group in file["row_groups"]
        ),
    )
    stated = _count(file, "num_samples", path)
    if stated != found.num_samples:
        raise ValueError(
            f"{path}: {found.name} has num_samples {stated}, its row groups {found.num_samples}: "
            "convert again"
        )
    return found


def _inside(name: Any, path: Location) -> str:
    """Return a file's name, which must not lead out of the folder."""
    if not isinstance(name, str) or not name or {"..", "/"} & set(PurePosixPath(name).parts):
        raise ValueError(f"{path}: lists the file {name!r}, expected a name in its folder")
    return name


def _count(content: Mapping[str, Any], key: str, path: Location) -> int:
    value = content.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{path}: {key} is {value!r}, expected a number of 0 or more")
    return value
