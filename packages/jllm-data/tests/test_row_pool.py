"""Rows gathered from several batches are those that Arrow's own `take` gives."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.data.tools.shuffle.reorder import LONG, ReorderedRows

WIDE, SHORT = pa.list_(pa.field("element", pa.int32(), nullable=False)), pa.list_(pa.int64())
SCHEMA = pa.schema([("ids", WIDE), ("records", SHORT), ("source", pa.string())])


def random_batch(rng: np.random.Generator, rows: int, longest: int) -> pa.RecordBatch:
    """Rows of 0 … `longest` ids; cut out of a larger batch, so offsets do not begin at 0."""
    lengths = rng.integers(0, longest + 1, rows + 3)
    ids = [rng.integers(-9, 9, length).astype(np.int32) for length in lengths]
    records = [None if rng.random() < 0.2 else rng.integers(0, 9, 2).tolist() for _ in lengths]
    source = [None if rng.random() < 0.2 else str(row) for row in range(rows + 3)]
    columns = [pa.array(ids, WIDE), pa.array(records, SHORT), pa.array(source)]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA).slice(2, rows)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(any),
    longest=st.sampled_from([3, LONG]),
    seed=st.integers(0, 99),
)
def test_rows_are_those_of_arrow(sizes: list[int], longest: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    batches = [random_batch(rng, rows, longest) for rows in sizes]
    order = rng.permutation(sum(sizes))[: rng.integers(1, sum(sizes) + 1)]
    pool, cut = ReorderedRows(batches, order), int(rng.integers(0, len(order)))
    found = [
        pool.rows(start, stop) for start, stop in ((0, cut), (cut, len(order))) if start < stop
    ]
    for batch in found:
        batch.validate(full=True)
    assert found[0].schema.equals(SCHEMA)
    assert pa.Table.from_batches(found).equals(pa.Table.from_batches(batches).take(order))


@pytest.mark.parametrize("null", ["row", "id"])
def test_long_lists_with_nulls_keep_them(null: str) -> None:
    rows = [list(range(LONG)), None if null == "row" else [None] * LONG, list(range(LONG))]
    column = pa.array(rows, pa.list_(pa.int32()))
    pool = ReorderedRows([pa.record_batch([column], ["ids"])], np.array([1, 0, 1]))
    assert pool.rows(0, 3).column(0).to_pylist() == [rows[1], rows[0], rows[1]]
