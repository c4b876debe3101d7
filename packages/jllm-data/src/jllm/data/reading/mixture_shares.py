"""Shares of a mixture: the data set of each place of the training order, by the weights alone.

Places 0, 1, 2, … are given out so that of the first n, every data set d has w_d·n ÷ W to within 1 −
1/(2D − 2) (D: data sets, w_d: whole weights, W: their sum), the smallest bound that holds for all
weights: R. Tijdeman, The chairman assignment problem, Discrete Mathematics 32 (1980). The result
repeats every W places, so counting is arithmetic. One period takes about 2 µs a place and is kept.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from math import gcd, lcm

import numpy as np

MOST_PLACES = 100_000
"""The longest period: the largest sum of whole weights."""


def whole_weights(weights: tuple[Fraction, ...]) -> tuple[int, ...]:
    """Return the smallest whole numbers in the proportion of `weights`: (0.7, 0.3) gives (7, 3).

    Raises ValueError for weights that are not above 0 and for proportions that need a period of
    more than `MOST_PLACES`.
    """
    for weight in weights:
        if weight <= 0:
            raise ValueError(f"a weight is {weight}, expected more than 0; leave the data set out")
    scaled = [int(weight * lcm(*(w.denominator for w in weights))) for weight in weights]
    whole = tuple(weight // gcd(*scaled) for weight in scaled)
    if sum(whole) > MOST_PLACES:
        raise ValueError(
            f"the weights are as {' : '.join(map(str, whole))}, which add up to {sum(whole):,}, "
            f"more than {MOST_PLACES:,}: round them to fewer digits"
        )
    return whole


@lru_cache(maxsize=8)
def one_period(weights: tuple[int, ...]) -> np.ndarray:
    """Return the data set of each place of one period, int64 [W]. Do not write to it.

    With c = 2D − 2 and A_d the places that d has so far, the next place of d is open at the n-th
    place (n from 1) when c·(w_d·n − W·A_d) ≥ W. The place goes to the open data set for which
    ⌊(c·A_d + c − 1)·W ÷ (c·w_d)⌋, the last n that it can wait for, is smallest; among equals to the
    first.
    """
    total, slack = sum(weights), max(1, 2 * len(weights) - 2)

    def opens(data_set: int, count: int) -> int:
        return -(-(total + slack * total * count) // (slack * weights[data_set]))

    def waits(data_set: int, count: int) -> int:
        return (slack * count + slack - 1) * total // (slack * weights[data_set])

    if len(weights) == 1:
        return np.zeros(total, dtype=np.int64)
    counts = [0] * len(weights)
    closed = [(opens(d, 0), d) for d in range(len(weights))]
    heapq.heapify(closed)
    ready: list[tuple[int, int]] = []
    places = np.empty(total, dtype=np.int64)
    for n in range(1, total + 1):
        while closed and closed[0][0] <= n:
            data_set = heapq.heappop(closed)[1]
            heapq.heappush(ready, (waits(data_set, counts[data_set]), data_set))
        data_set = heapq.heappop(ready)[1]
        places[n - 1] = data_set
        counts[data_set] += 1
        heapq.heappush(closed, (opens(data_set, counts[data_set]), data_set))
    assert counts == list(weights), (counts, weights)
    return places


@dataclass(frozen=True, kw_only=True)
class Shares:
    """The number of rows that the steps of a run take from each data set."""

    weights: tuple[int, ...]
    """Whole weights by data set, from `whole_weights`."""
    global_batch_size: int

    def rows_before(self, step: int) -> tuple[int, ...]:
        """Return the number of rows of each data set in all steps before `step`."""
        periods, place = divmod(step * self.global_batch_size, sum(self.weights))
        inside = self._counts[:, place].tolist()
        return tuple(periods * w + n for w, n in zip(self.weights, inside, strict=True))

    @cached_property
    def lanes(self) -> tuple[int, ...]:
        """The most rows that any step takes from each data set: its number of lanes."""
        total = sum(self.weights)
        steps = total // gcd(total, self.global_batch_size)  # then everything repeats
        places = np.arange(steps + 1, dtype=np.int64) * self.global_batch_size
        weights = np.array(self.weights, dtype=np.int64)[:, None]
        counts = places // total * weights + self._counts[:, places % total]
        return tuple(np.diff(counts).max(axis=1).tolist())

    @cached_property
    def _counts(self) -> np.ndarray:
        """The number of places of each data set among the first n of a period, int64 [D, W + 1]."""
        given = one_period(self.weights) == np.arange(len(self.weights))[:, None]
        counts = np.zeros((given.shape[0], given.shape[1] + 1), dtype=np.int64)
        np.cumsum(given, axis=1, out=counts[:, 1:])
        return counts
