"""The metadata survives the file; digests depend on values alone."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.data.format.digests import row_group_digest
from jllm.data.format.schema import FileMetadata, arrow_schema, read_metadata

FT = FileMetadata(kind="ft", max_len=9, tokenizer_digest="ab", chat_template_digest="cd",
                  special_tokens_digest="ef")  # fmt: skip
PRETRAIN = FileMetadata(kind="pretrain", max_len=5, tokenizer_digest="ab", document_end_id=0)


@pytest.mark.parametrize("metadata", [FT, PRETRAIN])
def test_metadata_survives_a_parquet_file(tmp_path: Path, metadata: FileMetadata) -> None:
    schema = arrow_schema(metadata)
    row = {"input_ids": [1, 2], "cu_seqlens": [0, 1], "labels": [-100, 2]}
    table = pa.Table.from_pylist([{**row, "source": "a.txt", "records": [7]}], schema=schema)
    pq.write_table(table, tmp_path / "a.parquet")
    footer = pq.read_metadata(tmp_path / "a.parquet")
    assert read_metadata(footer.metadata) == metadata
    assert footer.schema.to_arrow_schema().names == schema.names


def test_files_by_others_have_no_metadata() -> None:
    assert read_metadata(None) is None
    assert read_metadata({b"pandas": b"{}", b"\xff": b"\xff"}) is None


def test_a_newer_format_and_a_bad_kind_are_refused() -> None:
    pairs = dict(arrow_schema(FT).metadata)
    with pytest.raises(ValueError, match="format_version is '2'"):
        read_metadata({**pairs, b"jllm.format_version": b"2"})
    with pytest.raises(ValueError, match="kind is 'chat'"):
        read_metadata({**pairs, b"jllm.kind": b"chat"})
    for key in ("max_len", "special_tokens_digest", "chat_template_digest", "document_end_id"):
        fewer = {name: value for name, value in pairs.items() if name != f"jllm.{key}".encode()}
        with pytest.raises(ValueError, match=f"jllm.{key} is absent"):
            read_metadata(fewer)


ROWS = st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5), max_size=8)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, cut=st.integers(0, 8))
def test_digest_is_the_documented_hash_whatever_the_chunks(rows: list[list[int]], cut: int) -> None:
    lengths = np.array([len(row) for row in rows], "<i4").tobytes()
    values = np.array([value for row in rows for value in row], "<i4").tobytes()
    other = np.array([1] * len(rows), "<i4").tobytes() * 2
    content = lengths + values + other
    expected = "blake3:" + blake3(content).hexdigest()[:32]
    whole = pa.array(rows, pa.list_(pa.int32()))
    chunked = pa.chunked_array([whole[:cut], whole[cut:]])
    large = whole.cast(pa.large_list(pa.int32()))
    labels = pa.array([[1]] * len(rows), pa.list_(pa.int32()))
    for column in (whole, chunked, large):
        columns = {"labels": labels, "input_ids": column}
        assert row_group_digest(columns) == expected


def test_digest_refuses_nulls_and_unknown_columns() -> None:
    with pytest.raises(ValueError, match="null rows"):
        row_group_digest({"input_ids": pa.array([[1], None], pa.list_(pa.int32()))})
    with pytest.raises(ValueError, match="null ids"):
        row_group_digest({"input_ids": pa.array([[1, None]], pa.list_(pa.int32()))})
    with pytest.raises(ValueError, match="image_ids"):
        row_group_digest({"image_ids": pa.array([[1]], pa.list_(pa.int32()))})
