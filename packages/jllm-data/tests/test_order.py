"""The order of rows: what every epoch covers, for every way to share its lanes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.data.reading.order import locate, permutation, row_order, splitmix64, steps_per_epoch
from order_helpers import MASK, stream_plainly

GROUP_ROWS = st.lists(st.integers(0, 9), min_size=1, max_size=9)


def rows_of(
    step: int,
    group_rows: list[int],
    size: int,
    *,
    seed: int = 3,
    shuffle: bool = True,
    keep_last: bool = False,
) -> list[tuple[int, int]]:
    groups, rows = locate(
        np.array(group_rows), seed, size, step, range(size), shuffle=shuffle, keep_last=keep_last
    )
    return list(zip(groups.tolist(), rows.tolist(), strict=True))


def test_splitmix64_gives_the_published_sequence() -> None:
    """The first outputs of SplitMix64 seeded with 1234567 (Rosetta Code, Vigna's splitmix64.c)."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    states = [(1234567 + i * 0x9E3779B97F4A7C15) & MASK for i in range(3)]
    assert [splitmix64(state) for state in states] == published
    assert splitmix64(np.array(states, dtype=np.uint64)).tolist() == published


@given(st.integers(0, 50), st.lists(st.integers(-(1 << 70), 1 << 70), max_size=3))
def test_a_permutation_holds_every_index_once(n: int, keys: list[int]) -> None:
    assert sorted(permutation(n, *keys).tolist()) == list(range(n))


def test_permutations_are_uniform() -> None:
    """All 24 orders of 4 rows, over 24 000 seeds: chi-square of 23 degrees, p > 1e-6."""
    orders = [tuple(row_order(4, seed, 0, 0)) for seed in range(24_000)]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 1000) ** 2 / 1000).sum() < 74


@settings(deadline=None, max_examples=60)
@given(GROUP_ROWS, st.integers(1, 8), st.integers(0, MASK), st.integers(0, 40))
def test_locate_equals_a_second_writing_in_plain_python(
    group_rows: list[int], size: int, seed: int, step: int
) -> None:
    steps = sum(group_rows) // size
    if not steps:
        return
    stream = stream_plainly(group_rows, seed, step // steps)
    expected = [stream[lane * steps + step % steps] for lane in range(size)]
    assert rows_of(step, group_rows, size, seed=seed) == expected


@settings(deadline=None, max_examples=60)
@given(GROUP_ROWS, st.integers(1, 8), st.integers(0, 3), st.booleans())
def test_an_epoch_takes_steps_times_batch_rows_and_none_twice(
    group_rows: list[int], size: int, epoch: int, shuffle: bool
) -> None:
    steps = steps_per_epoch(sum(group_rows), size)
    assert steps == sum(group_rows) // size
    taken = [
        row
        for step in range(epoch * steps, (epoch + 1) * steps)
        for row in rows_of(step, group_rows, size, shuffle=shuffle)
    ]
    assert len(taken) == len(set(taken)) == steps * size
    assert all(0 <= row < group_rows[group] for group, row in taken)


@settings(deadline=None, max_examples=60)
@given(GROUP_ROWS, st.integers(1, 8), st.booleans())
def test_keep_last_takes_every_row_once_and_fills_with_none(
    group_rows: list[int], size: int, shuffle: bool
) -> None:
    total = sum(group_rows)
    steps = steps_per_epoch(total, size, keep_last=True)
    assert steps == -(-total // size)
    taken = [
        row
        for step in range(steps)
        for row in rows_of(step, group_rows, size, shuffle=shuffle, keep_last=True)
    ]
    whole = [(group, row) for group, rows in enumerate(group_rows) for row in range(rows)]
    assert sorted(taken) == [(-1, -1)] * (steps * size - total) + whole


@settings(deadline=None, max_examples=60)
@given(GROUP_ROWS, st.integers(1, 12), st.sets(st.integers(1, 11)), st.integers(0, 20))
def test_every_cut_of_the_lanes_gives_the_same_global_batch(
    group_rows: list[int], size: int, cuts: set[int], step: int
) -> None:
    if sum(group_rows) < size:
        return
    bounds = [0, *sorted(cut for cut in cuts if cut < size), size]
    parts = [
        np.stack(locate(np.array(group_rows), 5, size, step, range(start, stop)))
        for start, stop in pairwise(bounds)
    ]
    whole = np.stack(locate(np.array(group_rows), 5, size, step, range(size)))
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_without_shuffling_lanes_run_through_the_files_in_order() -> None:
    assert rows_of(0, [3, 0, 4], 2, shuffle=False) == [(0, 0), (2, 0)]
    assert rows_of(2, [3, 0, 4], 2, shuffle=False) == [(0, 2), (2, 2)]
    assert rows_of(3, [3, 0, 4], 2, shuffle=False) == [(0, 0), (2, 0)]


def test_epochs_and_seeds_give_other_orders_and_leave_out_other_rows() -> None:
    group_rows, size, steps = [10] * 10, 33, 3
    orders, left_out = set(), set()
    for seed, epoch in [(1, 0), (1, 1), (1, 2), (2, 0), (-1, 0)]:
        taken = [
            row
            for step in range(epoch * steps, (epoch + 1) * steps)
            for row in rows_of(step, group_rows, size, seed=seed)
        ]
        orders.add(tuple(taken))
        left_out |= {(g, r) for g in range(10) for r in range(10)} - set(taken)
    assert len(orders) == 5
    assert len(left_out) > 1


def test_too_few_rows_and_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="has 3 rows, global_batch_size 4 needs"):
        rows_of(0, [3], 4)
    with pytest.raises(ValueError, match="step is -1"):
        rows_of(-1, [3], 1)
    with pytest.raises(ValueError, match="global_batch_size is 0"):
        steps_per_epoch(3, 0)
