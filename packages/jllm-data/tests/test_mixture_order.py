"""The rows of a mixture: a second writing, what epochs cover, and any way to share the places."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jllm.data.reading import mixture_order, order
from jllm.data.reading.mixture_order import lanes_of_step, lanes_reachable, locate, set_seed
from jllm.data.reading.mixture_shares import Shares
from order_helpers import MASK, WEIGHTS, places_plainly


def rows_of(
    group_rows: list[list[int]], shares: Shares, seed: int, step: int, places: range | None = None
) -> list[tuple[int, int, int]]:
    rows = [np.array(own) for own in group_rows]
    whole = places or range(shares.global_batch_size)
    return list(zip(*(part.tolist() for part in locate(rows, shares, seed, step, whole)),
                    strict=True))  # fmt: skip


MIXTURES = WEIGHTS.flatmap(
    lambda weights: st.tuples(
        st.just(weights),
        st.lists(
            st.lists(st.integers(0, 6), min_size=1, max_size=6),
            min_size=len(weights),
            max_size=len(weights),
        ),
        st.integers(1, 12),
    )
)


@settings(deadline=None, max_examples=60)
@given(MIXTURES, st.integers(0, MASK), st.integers(0, 12))
def test_locate_equals_rows_dealt_out_one_by_one_in_plain_python(
    mixture: tuple[tuple[int, ...], list[list[int]], int], seed: int, step: int
) -> None:
    weights, group_rows, size = mixture
    shares = Shares(weights=weights, global_batch_size=size)
    assume(all(sum(own) >= n for own, n in zip(group_rows, shares.lanes, strict=True)))
    batches = places_plainly(group_rows, weights, size, seed, step + 1)
    assert rows_of(group_rows, shares, seed, step) == batches[step]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.integers(1, 8), st.integers(0, 40))
def test_one_data_set_is_read_in_its_own_order_exactly(
    group_rows: list[int], size: int, step: int
) -> None:
    assume(sum(group_rows) >= size)
    sets, *rows = locate(
        [np.array(group_rows)], Shares(weights=(1,), global_batch_size=size), 3, step, range(size)
    )
    assert not sets.any()
    expected = order.locate(np.array(group_rows), 3, size, step, range(size))
    np.testing.assert_array_equal(rows, expected)


@settings(deadline=None, max_examples=40)
@given(WEIGHTS, st.integers(1, 24), st.sets(st.integers(1, 23)), st.integers(0, 99))
def test_every_cut_of_the_places_gives_the_same_global_batch(
    weights: tuple[int, ...], size: int, cuts: set[int], step: int
) -> None:
    shares = Shares(weights=weights, global_batch_size=size)
    group_rows = [[40, 9, 40, 0, 1]] * len(weights)
    bounds = [0, *sorted(cut for cut in cuts if cut < size), size]
    parts = [rows_of(group_rows, shares, 5, step, range(a, b)) for a, b in pairwise(bounds)]
    assert sum(parts, []) == rows_of(group_rows, shares, 5, step)


@pytest.mark.parametrize(("weights", "size"), [((7, 3), 10), ((7, 3), 8), ((5, 1, 1), 4)])
def test_each_data_set_is_gone_through_row_by_row_before_any_comes_again(
    weights: tuple[int, ...], size: int
) -> None:
    """A small one is repeated as its weight demands, each epoch in another order."""
    shares = Shares(weights=weights, global_batch_size=size)
    group_rows = [[4, 5, 3, 4], [3, 5], [2, 2]][: len(weights)]
    steps = 60
    dealt: list[list[tuple[int, int]]] = [[] for _ in weights]
    for step in range(steps):
        for data_set, *row in rows_of(group_rows, shares, 2, step):
            dealt[data_set].append((row[0], row[1]))
    assert tuple(map(len, dealt)) == shares.rows_before(steps)
    for rows, own, lanes in zip(dealt, group_rows, shares.lanes, strict=True):
        epoch = sum(own) // lanes * lanes
        epochs = [rows[i : i + epoch] for i in range(0, len(rows) - epoch + 1, epoch)]
        assert len(epochs) >= 2
        # A step may hold the end of one epoch and the start of the next: counted, not listed.
        firsts = [set(one) for one in epochs]
        assert all(len(first) >= epoch - lanes for first in firsts)
        assert len({tuple(one) for one in epochs}) > len(epochs) // 2


@settings(deadline=None, max_examples=60)
@given(WEIGHTS, st.integers(1, 24), st.data())
def test_a_reader_stands_in_few_lanes_and_takes_the_next_row_of_each(
    weights: tuple[int, ...], size: int, data: st.DataObject
) -> None:
    shares = Shares(weights=weights, global_batch_size=size)
    start = data.draw(st.integers(0, size - 1))
    places = range(start, data.draw(st.integers(start + 1, size)))
    more = sum(shares.lanes) - size
    next_row: dict[tuple[int, int], int] = {}
    for step in range(30):
        stand = {
            (span.data_set, lane): span.step
            for span in lanes_reachable(shares, step, places)
            for lane in span.lanes
        }
        assert len(stand) <= len(places) + more
        for span in lanes_of_step(shares, step, places):
            for lane in span.lanes:
                assert stand[span.data_set, lane] == span.step
        for lane, at in stand.items():  # rows of a lane come one after another
            assert at - next_row.get(lane, at) in (0, 1)
            next_row[lane] = at


def test_data_sets_of_one_mixture_and_seeds_have_different_orders() -> None:
    seeds = {set_seed(seed, d, 3) for seed in (-1, 0, 1, 2) for d in range(3)}
    assert len(seeds) == 12
    assert set_seed(-7, 0, 1) == -7
    assert mixture_order.set_seed(-1, 1, 2) == set_seed((1 << 64) - 1, 1, 2)
