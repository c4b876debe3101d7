"""Bins, quantiles and means are those of a naive counting of the single lengths."""

import math
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jllm.data.tools.inspect.histogram import add_counts, doubling_bins, fill_bins, mean, quantile

LENGTHS = st.lists(st.integers(0, 300), max_size=60)


def counts_of(lengths: list[int]) -> np.ndarray:
    return np.bincount(np.array(lengths, np.int64), minlength=1)


@given(LENGTHS)
def test_doubling_bins_hold_every_length_once_in_powers_of_two(lengths: list[int]) -> None:
    bins = doubling_bins(counts_of(lengths))
    assert sum(one.count for one in bins) == len(lengths)
    for one in bins:
        assert one.count == sum(one.first <= length <= one.last for length in lengths)
        assert one.last == (2 * one.first - 1 if one.first else 0)
    for before, after in zip(bins, bins[1:], strict=False):
        assert after.first == before.last + 1
    if lengths:
        assert bins[0].count and bins[-1].count


@given(LENGTHS, st.integers(1, 320))
def test_fill_bins_count_by_whole_steps_of_five_per_cent(lengths: list[int], more: int) -> None:
    capacity = max([*lengths, more])
    naive = Counter(min(math.floor(length * 100 / capacity / 5 + 1e-9) * 5, 100)
                    for length in lengths)  # fmt: skip
    bins = fill_bins(counts_of(lengths), capacity)
    assert {one.first: one.count for one in bins if one.count} == naive
    assert all(one.last == (100 if one.first == 100 else one.first + 4) for one in bins)
    assert not lengths or bins[-1].first == 100


@given(LENGTHS.filter(bool), st.floats(0, 1))
def test_a_quantile_is_the_smallest_length_that_so_many_do_not_exceed(
    lengths: list[int], part: float
) -> None:
    found = quantile(counts_of(lengths), part)
    ordered = sorted(lengths)
    assert found == ordered[max(1, math.ceil(part * len(lengths))) - 1]


@given(LENGTHS, LENGTHS)
def test_counts_add_up_and_have_the_mean_of_all(one: list[int], other: list[int]) -> None:
    both = add_counts(counts_of(one), counts_of(other))
    longest = max([0, *one, *other])
    assert both.tolist() == np.bincount([*one, *other, longest]).tolist()[:-1] + [
        [*one, *other].count(longest)
    ]
    expected = sum([*one, *other]) / len([*one, *other]) if one or other else 0.0
    assert mean(both) == expected


def test_nothing_has_no_bins() -> None:
    nothing = np.zeros(1, np.int64)
    assert doubling_bins(nothing) == [] and fill_bins(nothing, 8) == []
    assert quantile(nothing, 0.5) == 0 and mean(nothing) == 0.0
