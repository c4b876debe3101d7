"""Keys and blocks of the shuffle: exact sizes, and places that are uniform over seeds."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.data.tools.shuffle.keys import block_starts, row_keys, split_blocks


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**63), st.data())
def test_blocks_cut_the_sorted_keys_evenly(rows: int, seed: int, data: st.DataObject) -> None:
    blocks = data.draw(st.integers(1, min(rows, 300)))
    keys = np.sort(row_keys(seed, 0, rows))
    starts = block_starts(rows, seed, blocks)
    places = np.searchsorted(keys, starts)
    assert places.tolist() == [block * rows // blocks for block in range(blocks)]


def test_blocks_of_more_rows_than_are_looked_at_once() -> None:
    rows = (1 << 20) + 12_345
    keys = np.sort(row_keys(3, 0, rows))
    places = np.searchsorted(keys, block_starts(rows, 3, 210))
    assert places.tolist() == [block * rows // 210 for block in range(210)]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 500), st.integers(0, 2**63), st.integers(1, 9))
def test_parts_lie_in_order_in_their_blocks(rows: int, seed: int, parts: int) -> None:
    starts = block_starts(rows, seed, min(rows, 7))
    bounds = split_blocks(starts, parts)
    assert bounds[::parts].tolist() == starts.tolist()
    assert (np.diff(bounds.astype(object)) >= 0).all()


def test_keys_do_not_depend_on_where_a_process_begins() -> None:
    whole = row_keys(7, 0, 1000)
    parts = [row_keys(7, first, first + 125) for first in range(0, 1000, 125)]
    assert np.array_equal(np.concatenate(parts), whole) and len(set(whole.tolist())) == 1000


def test_every_row_is_at_every_place_equally_often() -> None:
    """χ² over 6000 seeds: rows × places, and what follows each row (5 standard deviations)."""
    rows, seeds = 24, 6000
    orders = np.array([np.argsort(row_keys(seed, 0, rows)) for seed in range(seeds)])
    places = np.zeros((rows, rows))
    for place in range(rows):
        places[:, place] = np.bincount(orders[:, place], minlength=rows)
    degrees = (rows - 1) ** 2
    statistic = ((places - seeds / rows) ** 2 / (seeds / rows)).sum()
    assert abs(statistic - degrees) < 5 * np.sqrt(2 * degrees)
    follows = np.zeros((rows, rows))
    np.add.at(follows, (orders[:, :-1].ravel(), orders[:, 1:].ravel()), 1)
    expected = seeds * (rows - 1) / (rows * (rows - 1))
    off = ~np.eye(rows, dtype=bool)
    statistic = ((follows[off] - expected) ** 2 / expected).sum()
    degrees = rows * (rows - 1)
    assert abs(statistic - degrees) < 5 * np.sqrt(2 * degrees)


def test_rows_that_were_neighbours_in_order_of_reading_are_spread_over_blocks() -> None:
    """Of 100 000 rows, each run of 1000 gives every one of 10 blocks its share (χ², 9 degrees)."""
    keys, starts = row_keys(1, 0, 100_000), block_starts(100_000, 1, 10)
    block = np.searchsorted(starts, keys, side="right") - 1
    counts = np.stack([np.bincount(part, minlength=10) for part in block.reshape(100, 1000)])
    statistics = ((counts - 100) ** 2 / 100).sum(axis=1)
    assert statistics.max() < 33 and abs(statistics.mean() - 9) < 2  # P(χ² > 33) = 0.0001
