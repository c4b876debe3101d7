"""Bins and quantiles of exact length counts: pure functions of small integer arrays.

`counts` is int64 [longest + 1] everywhere here: `counts[n]` is the number of items of length n.
Nothing else is kept of a data set of any size, and nothing is estimated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FILL_STEP = 5
"""Width of a bin of `fill_bins` in per cent."""


@dataclass(frozen=True, kw_only=True)
class Bin:
    """The number of lengths in first … last, both included."""

    first: int
    last: int
    count: int


def doubling_bins(counts: np.ndarray) -> list[Bin]:
    """Return bins 1, 2–3, 4–7, 8–15, … from the shortest to the longest length; 0 has its own."""
    held = np.flatnonzero(counts)
    if not len(held):
        return []
    first = _power_of_two(int(held[0]))
    bins = []
    while first <= held[-1]:
        last = max(2 * first - 1, 0)
        bins.append(Bin(first=first, last=last, count=int(counts[first : last + 1].sum())))
        first = last + 1
    return bins


def fill_bins(counts: np.ndarray, capacity: int) -> list[Bin]:
    """Return bins of lengths as shares of `capacity`: 5 % wide, `first` and `last` in per cent.

    A bin 80 … 84 holds 80 % ≤ length / capacity < 85 %; 100 % has its own bin. Leading empty bins
    are left out.
    """
    lengths = np.arange(len(counts))
    steps = lengths * 100 // (capacity * FILL_STEP)
    full = 100 // FILL_STEP
    sums = np.bincount(np.minimum(steps, full), counts, full + 1).astype(np.int64)
    held = np.flatnonzero(sums)
    if not len(held):
        return []
    return [
        Bin(
            first=number * FILL_STEP,
            last=100 if number == full else number * FILL_STEP + FILL_STEP - 1,
            count=int(sums[number]),
        )
        for number in range(int(held[0]), full + 1)
    ]


def quantile(counts: np.ndarray, part: float) -> int:
    """Return the smallest n such that at least `part` (0 … 1) of all lengths are ≤ n; 0 if there
    are none.
    """
    below = np.cumsum(counts)
    if not below[-1:].any():
        return 0
    return int(np.searchsorted(below, max(1, np.ceil(part * below[-1]))))


def mean(counts: np.ndarray) -> float:
    """Return the mean length; 0 if there are none."""
    number = int(counts.sum())
    return float(counts @ np.arange(len(counts)) / number) if number else 0.0


def add_counts(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the sum of two counts, whose arrays may differ in length."""
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    total = longer.copy()
    total[: len(shorter)] += shorter
    return total


def share(part: int, whole: int) -> float:
    """Return part ÷ whole; 0 if the whole is 0."""
    return part / whole if whole else 0.0


def _power_of_two(number: int) -> int:
    return 1 << (number.bit_length() - 1) if number else 0
