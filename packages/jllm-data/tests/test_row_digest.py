"""The digest of a bag of rows tells bags apart and forgets order and layout."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.data.format.row_multiset import RowMultiset, multiset_of

SCHEMA = pa.schema(
    [
        ("input_ids", pa.list_(pa.int32())),
        ("records", pa.list_(pa.int64())),
        ("source", pa.string()),
        ("score", pa.float64()),
    ]
)
small = st.integers(-3, 3)
rows_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "input_ids": st.none() | st.lists(small, max_size=4),
            "records": st.lists(small | st.none(), max_size=2),
            "source": st.none() | st.text(max_size=2),
            "score": st.none() | st.floats(allow_nan=False),
        }
    ),
    max_size=6,
)


def batch_of(rows: list[dict]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def canonical(rows: list[dict]) -> list[str]:
    return sorted(repr(sorted(row.items())) for row in rows)


@settings(max_examples=60, deadline=None)
@given(rows_strategy, rows_strategy, st.randoms(use_true_random=False))
def test_bags_are_equal_exactly_when_the_rows_are(one, two, random) -> None:
    shuffled = random.sample(one, len(one))
    assert multiset_of(batch_of(shuffled)) == multiset_of(batch_of(one))
    same = canonical(one) == canonical(two)
    assert (multiset_of(batch_of(one)) == multiset_of(batch_of(two))) == same


@settings(max_examples=30, deadline=None)
@given(rows_strategy, st.data())
def test_slices_add_up_to_the_whole(rows, data) -> None:
    batch = batch_of(rows)
    cut = data.draw(st.integers(0, len(rows)))
    assert multiset_of(batch.slice(0, cut)) + multiset_of(batch.slice(cut)) == multiset_of(batch)


def test_a_lost_a_doubled_and_a_changed_row_show() -> None:
    rows = [{"input_ids": [i], "records": [], "source": "a", "score": 0.0} for i in range(5)]
    whole = multiset_of(batch_of(rows))
    for other in (rows[1:], [*rows, rows[0]], [*rows[1:], rows[1]], rows[:4] + [{}]):
        assert multiset_of(batch_of(other)) != whole
    assert multiset_of(batch_of([])) == RowMultiset()


def test_the_kind_of_list_does_not_matter() -> None:
    values = [[1, 2], [], [3]]
    lists, large = (
        pa.RecordBatch.from_arrays([pa.array(values, kind)], names=["input_ids"])
        for kind in (pa.list_(pa.int32()), pa.large_list(pa.int32()))
    )
    assert multiset_of(lists) == multiset_of(large)
    assert multiset_of(lists) != multiset_of(
        pa.RecordBatch.from_arrays([pa.array([[1], [2], [3]], pa.list_(pa.int32()))], names=["x"])
    )
    np.testing.assert_equal(multiset_of(lists).rows, 3)
