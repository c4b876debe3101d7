"""Finding a step costs the same work whatever the step, on metadata alone.

Its seconds are measured by tools/bench/reader.py.
"""

from collections.abc import Callable

import numpy as np
import pytest

from call_count_helpers import calls_of
from jllm.data.reading.order import locate

ROWS = 10_000_000
STEP = 1_000_000


def equal_groups(count: int) -> np.ndarray:
    return np.full(count, ROWS // count)


def unequal_groups(count: int) -> np.ndarray:
    return np.random.default_rng(0).geometric(count / ROWS, size=count)


@pytest.mark.parametrize("make_groups", [equal_groups, unequal_groups])
@pytest.mark.parametrize("count", [10_000, 100_000])
@pytest.mark.parametrize("size", [1, 8, 512])
def test_seeking_among_ten_million_rows_hashes_each_group_and_the_rows_of_those_it_stands_in(
    make_groups: Callable[[int], np.ndarray],
    count: int,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group_rows, hashed = make_groups(count), []
    hashes = locate.__globals__["_hashes"]

    def counted(n: int, *keys: int) -> np.ndarray:
        hashed.append(n)
        return hashes(n, *keys)

    monkeypatch.setitem(locate.__globals__, "_hashes", counted)
    for step in (0, STEP):
        hashed.clear()
        groups, rows = locate(group_rows, 1, size, step, range(size))
        assert (rows < group_rows[groups]).all()
        assert sum(hashed) == count + group_rows[np.unique(groups)].sum()


@pytest.mark.parametrize("size", [1, 8, 512])
def test_seeking_calls_a_few_functions_a_lane_whatever_the_step(size: int) -> None:
    group_rows = unequal_groups(100_000)
    locate(group_rows, 1, size, 0, range(size))  # numpy imports some of itself on first use
    for step in (0, STEP):
        calls = calls_of(lambda step=step: locate(group_rows, 1, size, step, range(size)))
        assert calls < 100 + 50 * size
