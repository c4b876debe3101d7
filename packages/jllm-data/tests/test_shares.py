"""Every data set of a mixture has its share of any number of places, as exactly as can be."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from call_count_helpers import calls_of
from jllm.data.reading.mixture_shares import MOST_PLACES, Shares, one_period, whole_weights
from order_helpers import WEIGHTS, period_plainly


def deviations(weights: tuple[int, ...]) -> np.ndarray:
    """Places given minus places due among the first n, times Σ weights; int64 [D, W + 1]."""
    total = sum(weights)
    given = one_period(weights) == np.arange(len(weights))[:, None]
    counts = np.concatenate((np.zeros((len(weights), 1), int), np.cumsum(given, axis=1)), axis=1)
    return counts * total - np.array(weights)[:, None] * np.arange(total + 1)


@settings(deadline=None, max_examples=80)
@given(WEIGHTS)
def test_one_period_equals_the_rule_written_with_fractions(weights: tuple[int, ...]) -> None:
    assert one_period(weights).tolist() == period_plainly(weights)


@settings(deadline=None, max_examples=80)
@given(WEIGHTS)
def test_of_the_first_n_places_none_is_off_its_share_by_a_whole_one(
    weights: tuple[int, ...],
) -> None:
    """At most 1 − 1/(2D − 2): Tijdeman's bound."""
    slack = max(1, 2 * len(weights) - 2)
    assert np.abs(deviations(weights)).max() * slack <= sum(weights) * (slack - 1)


@settings(deadline=None, max_examples=60)
@given(WEIGHTS)
def test_any_window_is_off_by_less_than_two_and_of_two_data_sets_by_less_than_one(
    weights: tuple[int, ...],
) -> None:
    """Windows that cross the end of a period too: the deviation is periodic."""
    found = deviations(weights)
    widest = (found.max(axis=1) - found.min(axis=1)).max()
    assert widest < (1 if len(weights) == 2 else 2) * sum(weights)


def test_three_data_sets_cannot_all_be_within_one_in_every_window() -> None:
    """Why 2 is promised, not 1: 3 : 2 : 1 has no such order at all."""
    weights, total = (3, 2, 1), 6
    orders = [o for o in product(range(3), repeat=6) if [o.count(d) for d in range(3)] == [3, 2, 1]]
    assert len(orders) == 60
    for places in orders:
        counts = np.array([[places[:n].count(d) for n in range(total)] for d in range(3)])
        found = counts * total - np.array(weights)[:, None] * np.arange(total)
        assert (found.max(axis=1) - found.min(axis=1)).max() >= total


@settings(deadline=None, max_examples=60)
@given(WEIGHTS, st.integers(1, 40), st.integers(0, 200))
def test_steps_count_what_the_places_before_them_were_given(
    weights: tuple[int, ...], size: int, step: int
) -> None:
    shares = Shares(weights=weights, global_batch_size=size)
    places = np.resize(one_period(weights), size * (step + 1))
    counts = [np.bincount(part, minlength=len(weights)) for part in (places, places[: size * step])]
    assert shares.rows_before(step + 1) == tuple(counts[0])
    assert shares.rows_before(step) == tuple(counts[1])
    assert all(counts[0] - counts[1] <= shares.lanes)


@settings(deadline=None, max_examples=60)
@given(WEIGHTS, st.integers(1, 40))
def test_lanes_are_the_most_that_a_step_takes_and_few_more_than_the_batch(
    weights: tuple[int, ...], size: int
) -> None:
    shares = Shares(weights=weights, global_batch_size=size)
    taken = np.diff([shares.rows_before(step) for step in range(sum(weights) + 1)], axis=0)
    assert tuple(taken.max(axis=0)) == shares.lanes
    assert taken.sum(axis=1).tolist() == [size] * sum(weights)
    more = sum(shares.lanes) - size
    assert more == 0 if size % sum(weights) == 0 else more < 2 * len(weights) - 1


def test_distant_steps_are_counted_exactly() -> None:
    shares = Shares(weights=(7, 3), global_batch_size=512)
    assert shares.rows_before(10**15) == (7 * 512 * 10**14, 3 * 512 * 10**14)


@pytest.mark.parametrize(
    ("weights", "whole"),
    [
        (["0.7", "0.3"], (7, 3)),
        (["7", "3"], (7, 3)),
        (["1/3", "2/3"], (1, 2)),
        (["0.25", "0.25", "0.5"], (1, 1, 2)),
        (["1e-2", "5"], (1, 500)),
        (["4"], (1,)),
    ],
)
def test_weights_are_exact_and_need_not_add_up_to_one(
    weights: list[str], whole: tuple[int, ...]
) -> None:
    assert whole_weights(tuple(map(Fraction, weights))) == whole


def test_weights_that_are_wrong_or_too_fine_are_refused() -> None:
    with pytest.raises(ValueError, match="a weight is 0, expected more than 0"):
        whole_weights((Fraction(0), Fraction(1)))
    with pytest.raises(ValueError, match=r"as 100000 : 1, which add up to 100,001, .*round them"):
        whole_weights((Fraction(100_000), Fraction(1)))


@pytest.mark.parametrize("data_sets", [3, 30])
def test_the_finest_weights_are_counted_in_a_few_calls_a_place(data_sets: int) -> None:
    """However many data sets; one_period keeps what it found, so no other test has these."""
    weights = (MOST_PLACES - 5 * data_sets + 1, *[5] * (data_sets - 2), 9)
    assert sum(weights) == MOST_PLACES
    shares = Shares(weights=weights, global_batch_size=512)
    assert calls_of(lambda: shares.lanes) < 10 * MOST_PLACES
