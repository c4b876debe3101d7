"""Rows of every shape become tokens, targets and bounds as a plain second reading gives them."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.data.reading.row_decoder import TrainingRows, decode_rows
from parquet_helpers import INT32_LISTS, Row, read_plainly

MAX_LEN = 9
ALL_SHAPES = (("cu_seqlens",), ("cu_seqlens", "labels"), ("labels",), ())


def decode(rows: list[Row], *, document_end_id: int | None = None, chunks: int = 1) -> TrainingRows:
    columns = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        parts = [values[i::chunks] for i in range(chunks)] if chunks == 1 else [[v] for v in values]
        columns[name] = pa.chunked_array([pa.array(part, INT32_LISTS) for part in parts])
    return decode_rows(
        columns, max_len=MAX_LEN, document_end_id=document_end_id, where="a.parquet, row group 0"
    )


def written(rows: TrainingRows, index: int) -> tuple[list[int], list[int], list[int]]:
    tokens, targets = (np.full(MAX_LEN - 1, -7, dtype=np.int32) for _ in range(2))
    bounds = rows.write(index, tokens, targets)
    assert bounds.dtype == np.int32
    return tokens.tolist(), targets.tolist(), bounds.tolist()


@st.composite
def rows_of_one_shape(draw: st.DrawFn) -> list[Row]:
    extra = draw(st.sampled_from(ALL_SHAPES))
    rows = []
    for _ in range(draw(st.integers(1, 5))):
        ids = draw(st.lists(st.integers(0, 4), min_size=2, max_size=MAX_LEN))
        row = {"input_ids": ids}
        if "cu_seqlens" in extra:
            inner = draw(st.sets(st.integers(1, len(ids) - 1))) - {len(ids) - 1}
            row["cu_seqlens"] = [0, *sorted(inner), len(ids) - 1]
        if "labels" in extra:
            row["labels"] = [draw(st.sampled_from([token, -100])) for token in ids]
        rows.append(row)
    return rows


@settings(deadline=None, max_examples=150)
@given(rows_of_one_shape(), st.sampled_from([None, 0, 3]), st.sampled_from([1, 2]))
def test_rows_equal_a_plain_second_reading(
    rows: list[Row], document_end_id: int | None, chunks: int
) -> None:
    decoded = decode(rows, document_end_id=document_end_id, chunks=chunks)
    for index, row in enumerate(rows):
        assert written(decoded, index) == read_plainly(row, MAX_LEN, document_end_id)


def test_stacked_text_predicts_neither_across_documents_nor_from_the_document_end() -> None:
    row = {"input_ids": [5, 6, 0, 7, 8, 0, 9, 9, 4], "cu_seqlens": [0, 3, 6, 8]}
    tokens, targets, bounds = written(decode([row], document_end_id=0), 0)
    assert tokens == [5, 6, 0, 7, 8, 0, 9, 9]
    assert targets == [6, 0, -100, 8, 0, -100, 9, 4]
    assert bounds == [0, 3, 6, 8]


def test_packed_chats_train_labels_and_close_with_an_untrained_document() -> None:
    row = {
        "input_ids": [5, 6, 7, 8, 9, 1],
        "cu_seqlens": [0, 3, 5],
        "labels": [-100, 6, 7, -100, 9, 1],
    }
    tokens, targets, bounds = written(decode([row]), 0)
    assert tokens == [5, 6, 7, 8, 9, 0, 0, 0]
    assert targets == [6, 7, -100, 9, 1, -100, -100, -100]
    assert bounds == [0, 3, 5, 8]


def test_the_first_label_of_a_document_is_never_predicted_from_the_one_before() -> None:
    row = {"input_ids": [5, 6, 7, 8], "cu_seqlens": [0, 2, 3], "labels": [5, 6, 7, 8]}
    assert written(decode([row]), 0)[1] == [6, -100, 8] + 5 * [-100]


def test_a_sliced_column_gives_its_own_rows() -> None:
    whole = pa.array([[9, 9], [1, 2, 3], [4, 5]], INT32_LISTS)
    rows = decode_rows(
        {"input_ids": pa.chunked_array([whole.slice(1)])},
        max_len=MAX_LEN, document_end_id=None, where="",
    )  # fmt: skip
    assert written(rows, 0)[0] == [1, 2] + 6 * [0]
    assert written(rows, 1)[1] == [5] + 7 * [-100]


def test_bounds_do_not_alias_the_row_group() -> None:
    rows = decode([{"input_ids": [1] * MAX_LEN, "cu_seqlens": [0, 4, MAX_LEN - 1]}])
    tokens, targets = np.empty(8, np.int32), np.empty(8, np.int32)
    rows.write(0, tokens, targets)[:] = 0
    assert written(rows, 0)[2] == [0, 4, 8]


GOOD = {"input_ids": [1, 2, 3, 4], "cu_seqlens": [0, 2, 3], "labels": [-100, 2, -100, 4]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_ids": [1]}, "row 1: input_ids has 1 ids, expected 2 to max_len = 9"),
        ({"input_ids": [1] * 10}, "row 1: input_ids has 10 ids, expected 2 to max_len = 9"),
        ({"input_ids": [1, -2, 3, 4]}, "row 1: input_ids holds -2"),
        ({"labels": [-100, 2, 3]}, "row 1: labels has 3 entries, input_ids 4"),
        ({"labels": [2, 3, 4, -100]}, r"row 1: labels\[0\] is 2, expected the id there \(1\)"),
        ({"cu_seqlens": [0]}, r"row 1: cu_seqlens is \[0\]"),
        ({"cu_seqlens": []}, r"row 1: cu_seqlens is \[\]"),
        ({"cu_seqlens": [1, 2, 3]}, r"row 1: cu_seqlens is \[1, 2, 3\]"),
        ({"cu_seqlens": [0, 2, 4]}, r"from 0 to len\(input_ids\) − 1 = 3"),
        ({"cu_seqlens": [0, 2, 2, 3]}, r"row 1: cu_seqlens is \[0, 2, 2, 3\]"),
        ({"cu_seqlens": [0, 2, 1, 3]}, r"row 1: cu_seqlens is \[0, 2, 1, 3\]"),
        ({"cu_seqlens": [0, 1, 2, 1, 2, 1, 2, 3]}, r"row 1: cu_seqlens is \[0, 1, .*… 3\]"),
        ({"input_ids": None}, "input_ids: row 1 is null"),
        ({"labels": [1, None, 3, 4]}, "labels: row 1 holds a null"),
    ],
)
def test_a_wrong_row_is_named(change: Row, message: str) -> None:
    with pytest.raises(ValueError, match="^a.parquet, row group 0.*" + message):
        decode([GOOD, {**GOOD, **change}, GOOD])
