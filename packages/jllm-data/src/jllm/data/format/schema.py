"""The columns and metadata of jllm's parquet files: one definition for writers and readers.

A row is one training sequence of at most `max_len` ids:

    input_ids   list<int32>  the ids; a row of n ids gives n − 1 positions
    cu_seqlens  list<int32>  document bounds, strictly increasing from 0 to n − 1
    labels      list<int32>  chats only: input_ids[i] where the id is trained, else −100

A row of RL prompts is one prompt, `input_ids`, and its number, `labels` = [n].

Training does not read the columns that tell where the documents came from:

    source      string       the input file
    records     list<int64>  the record's number in it, of each document; −1 of a closing segment

No column, list or list element is nullable in files written by jllm: this makes reading a quarter
faster. Files written by other tools may declare nullable ones, as long as they hold no nulls.

`docs/data_format.md` is the page for users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from jllm.data.format.kinds import KINDS, Kind

FORMAT_VERSION = "1"
IGNORE_INDEX = -100
"""The label of an untrained id (the convention of torch's cross-entropy)."""

INPUT_IDS, CU_SEQLENS, LABELS = "input_ids", "cu_seqlens", "labels"
FIELDS = (INPUT_IDS, CU_SEQLENS, LABELS)
"""All columns that training reads, in the order of files and digests."""
SOURCE, RECORDS = "source", "records"
PROVENANCE = (SOURCE, RECORDS)
"""The columns after these in jllm's own files (files written by other tools lack them)."""
NO_RECORD = -1
"""The record number of a segment that only closes a row."""

INT32_LIST = pa.list_(pa.field("element", pa.int32(), nullable=False))
INT64_LIST = pa.list_(pa.field("element", pa.int64(), nullable=False))
"""The types of columns of ids and the like, and of `RECORDS`."""

VERSION_KEY = "jllm.format_version"
KIND_KEY = "jllm.kind"
MAX_LEN_KEY = "jllm.max_len"
TOKENIZER_DIGEST_KEY = "jllm.tokenizer_digest"
CHAT_TEMPLATE_DIGEST_KEY = "jllm.chat_template_digest"
SPECIAL_TOKENS_DIGEST_KEY = "jllm.special_tokens_digest"
DOCUMENT_END_KEY = "jllm.document_end_id"


@dataclass(frozen=True, kw_only=True)
class FileMetadata:
    """The key-value metadata of a parquet file."""

    kind: Kind
    max_len: int
    """The most ids in a row; a reader gives max_len − 1 positions."""
    tokenizer_digest: str
    chat_template_digest: str = ""
    """Empty where no template was used (kind "pretrain")."""
    special_tokens_digest: str = ""
    """The digest of the special tokens with their ids."""
    document_end_id: int | None = None
    """The id that closes a document; nothing is predicted from it (kind "pretrain")."""


def fields_of(kind: Kind) -> tuple[str, ...]:
    """Return the columns of a kind that training reads, in order."""
    if kind == "rl":
        return (INPUT_IDS, LABELS)
    return FIELDS if kind == "ft" else (INPUT_IDS, CU_SEQLENS)


def arrow_schema(metadata: FileMetadata, *, provenance: bool = True) -> pa.Schema:
    """Return the Arrow schema of a file, with its key-value metadata.

    `provenance`: include the columns that tell where the documents came from.
    """
    end = metadata.document_end_id
    pairs = {
        VERSION_KEY: FORMAT_VERSION,
        KIND_KEY: metadata.kind,
        MAX_LEN_KEY: str(metadata.max_len),
        TOKENIZER_DIGEST_KEY: metadata.tokenizer_digest,
        CHAT_TEMPLATE_DIGEST_KEY: metadata.chat_template_digest,
        SPECIAL_TOKENS_DIGEST_KEY: metadata.special_tokens_digest,
        DOCUMENT_END_KEY: "" if end is None else str(end),
    }
    columns = {name: INT32_LIST for name in fields_of(metadata.kind)}
    if provenance:
        columns |= {SOURCE: pa.string(), RECORDS: INT64_LIST}
    fields = [pa.field(name, kind, nullable=False) for name, kind in columns.items()]
    return pa.schema(fields, metadata=pairs)


def nullable_type(kind: pa.DataType) -> pa.DataType:
    """Return the type with nullable list elements, for comparing files by their value types."""
    return pa.list_(nullable_type(kind.value_type)) if pa.types.is_list(kind) else kind


def read_metadata(pairs: Mapping[bytes, bytes] | None) -> FileMetadata | None:
    """Return the metadata in a parquet footer (`FileMetaData.metadata` or `Schema.metadata`).

    None where the file is not jllm's own (no format version). Raises ValueError for a newer
    format and for values that this format does not allow.
    """
    text = {key.decode(): value.decode() for key, value in (pairs or {}).items()
            if key.startswith(b"jllm.")}  # fmt: skip
    if VERSION_KEY not in text:
        return None
    if text[VERSION_KEY] != FORMAT_VERSION:
        raise ValueError(
            f"{VERSION_KEY} is {text[VERSION_KEY]!r}, this jllm reads {FORMAT_VERSION!r}: "
            "install a jllm-data that knows that format, or convert the text again"
        )
    try:
        kind = text[KIND_KEY]
        if kind not in KINDS:
            raise ValueError(f"{KIND_KEY} is {kind!r}, expected one of {', '.join(KINDS)}")
        end = text[DOCUMENT_END_KEY]
        return FileMetadata(
            kind=kind,
            max_len=int(text[MAX_LEN_KEY]),
            tokenizer_digest=text[TOKENIZER_DIGEST_KEY],
            chat_template_digest=text[CHAT_TEMPLATE_DIGEST_KEY],
            special_tokens_digest=text[SPECIAL_TOKENS_DIGEST_KEY],
            document_end_id=int(end) if end else None,
        )
    except KeyError as missing:
        raise ValueError(f"metadata key {missing.args[0]} is absent: convert again") from missing
