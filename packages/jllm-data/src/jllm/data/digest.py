"""Digests of a row group's values and of a file's bytes.

A row group's is the same for every compression, Arrow chunking and list type:
blake2b with 16 bytes, hexadecimal, over each column in turn (in the order of `schema.FIELDS`):
the row lengths as little-endian int32, then the values as little-endian int32. About 1 GB/s, no
copy where the values already lie contiguous (and no `to_numpy`, which would import pandas).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jllm.data.schema import FIELDS

DIGEST_BYTES = 16
ListColumn = pa.ListArray | pa.LargeListArray | pa.ChunkedArray


def row_group_digest(columns: Mapping[str, ListColumn]) -> str:
    """The digest of the columns of one row group (32 hexadecimal digits).

    `columns` maps names of `schema.FIELDS` to list arrays of integers, all rows of the group;
    columns of other names are refused, as are nulls (ValueError).
    """
    unknown = sorted(set(columns) - set(FIELDS))
    if unknown:
        raise ValueError(f"no digest is defined for column {unknown[0]!r}; known: {FIELDS}")
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name in FIELDS:
        if name not in columns:
            continue
        column = columns[name]
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        if any(chunk.null_count for chunk in chunks):
            raise ValueError(f"column {name!r} holds null rows: convert again")
        for chunk in chunks:
            digest.update(_int32_bytes(pc.list_value_length(chunk)))
        for chunk in chunks:
            digest.update(_int32_bytes(chunk.flatten()))
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """blake2b of all bytes of a file (32 hexadecimal digits), about 1 GB/s."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=DIGEST_BYTES))
    return digest.hexdigest()


def bytes_digest(content: bytes | memoryview | pa.Buffer) -> str:
    """The `file_digest` of a file of these bytes."""
    return hashlib.blake2b(memoryview(content), digest_size=DIGEST_BYTES).hexdigest()


def _int32_bytes(values: pa.Array) -> memoryview:
    if values.null_count:
        raise ValueError("a row holds null ids: convert again")
    return np.ascontiguousarray(np.from_dlpack(values), dtype="<i4").data
