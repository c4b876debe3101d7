"""The `<name>_info.json` beside the parquet files: what is in them, and the account of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jllm.data.account import Account
from jllm.data.schema import FileMetadata, fields_of
from jllm.data.sealed_json import sealed


@dataclass(frozen=True, kw_only=True)
class RowGroupInfo:
    """One row group: its rows and the digest of their values."""

    num_samples: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class FileInfo:
    """One parquet file."""

    name: str
    bytes: int
    digest: str
    """Of all its bytes: `digest.file_digest`."""
    row_groups: tuple[RowGroupInfo, ...]

    @property
    def num_samples(self) -> int:
        """Rows of the file."""
        return sum(group.num_samples for group in self.row_groups)


def file_info(fields: Mapping[str, Any]) -> FileInfo:
    """A FileInfo from `dataclasses.asdict` of it."""
    values = dict(fields)
    values["row_groups"] = tuple(RowGroupInfo(**group) for group in fields["row_groups"])
    return FileInfo(**values)


def info_text(
    metadata: FileMetadata,
    files: Sequence[FileInfo],
    account: Account,
    max_num_blocks: int,
) -> str:
    """The info file's JSON text.

    max_num_blocks: the most entries of a row's `cu_seqlens`.
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
        "records": {
            "read": account.read,
            "written": account.written,
            "dropped": dict(sorted(account.dropped.items())),
            "truncated": dict(sorted(account.truncated.items())),
            "dropped_list": [
                {"file": name, "line": p.line, "reason": p.reason, "detail": p.detail}
                for name, p in account.listed
            ],
        },
        "tokens": account.tokens,
        "trained_tokens": account.trained_tokens,
    }
    return sealed(info)


def file_entries(files: Sequence[FileInfo]) -> list[dict[str, Any]]:
    """What an info file says of parquet files under "files"."""
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
