"""Cutting a sequence of units into contiguous stages with the least maximum cost of a stage.

Exact dynamic programming in numpy, O(stages · units²): milliseconds for hundreds of units.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Cost = Callable[[int], np.ndarray]
"""stage → float64 [units + 1, units + 1]; [i, j] is the cost of units i … j−1 on that stage."""


def balance(cost: Cost, units: int, stages: int) -> tuple[int, ...]:
    """Return the boundaries 0 = b_0 < b_1 < … < b_stages = units with the least maximum stage cost.

    Among those, the result has the least sum of squared costs, so that the other stages are even
    too. `units` ≥ `stages`.
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
    reached = np.full(units + 1, np.inf)  # [j]: best value of the stages so far, ending at j
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
    """Return float64 [n + 1, n + 1] for float64 [n]: entry [i, j] is the sum of values i … j−1."""
    ends = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    return ends[None, :] - ends[:, None]
