"""Cuts a row of units into contiguous stages so that the costliest stage costs as little as can be.

Dynamic programming, exact; O(stages · units²) in numpy, milliseconds for hundreds of units.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Cost = Callable[[int], np.ndarray]
"""stage → float64 [units + 1, units + 1]; [i, j] is what the units i … j−1 cost on that stage."""


def balance(cost: Cost, units: int, stages: int) -> tuple[int, ...]:
    """Boundary 0 = b_0 < b_1 < … < b_stages = units with the least maximum of the stages' costs.

    Among those it is the one with the least sum of squares, so that the other stages are even too.
    `units` ≥ `stages`.
    """
    assert units >= stages >= 1, (units, stages)
    least = _best(cost, units, stages, np.maximum, lambda matrix: matrix)[0]

    def allowed_squares(matrix: np.ndarray) -> np.ndarray:
        scale = least or 1.0
        return np.where(matrix <= least, (matrix / scale) ** 2, np.inf)

    return _best(cost, units, stages, np.add, allowed_squares)[1]


def _best(
    cost: Cost,
    units: int,
    stages: int,
    combine: Callable[[np.ndarray, np.ndarray], np.ndarray],
    weigh: Callable[[np.ndarray], np.ndarray],
) -> tuple[float, tuple[int, ...]]:
    forbidden = np.tril(np.ones((units + 1, units + 1), dtype=bool))
    reached = np.full(units + 1, np.inf)  # [j]: the best value of all stages so far that end at j
    reached[0] = 0.0
    cuts: list[np.ndarray] = []
    for stage in range(stages):
        values = combine(reached[:, None], np.where(forbidden, np.inf, weigh(cost(stage))))
        cuts.append(values.argmin(axis=0))
        reached = values.min(axis=0)
    boundaries = [units]
    for cut in reversed(cuts):
        boundaries.append(int(cut[boundaries[-1]]))
    return float(reached[units]), tuple(reversed(boundaries))


def interval_sums(values: np.ndarray) -> np.ndarray:
    """float64 [n + 1, n + 1] out of float64 [n]: entry [i, j] is the sum of values i … j−1."""
    ends = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    return ends[None, :] - ends[:, None]
