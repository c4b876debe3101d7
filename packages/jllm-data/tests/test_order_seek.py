"""Finding a step costs milliseconds whatever the step, on metadata alone."""

from collections.abc import Callable
from time import process_time

import numpy as np
import pytest

from jllm.data.reading.order import locate

ROWS = 10_000_000


def equal_groups(count: int) -> np.ndarray:
    return np.full(count, ROWS // count)


def unequal_groups(count: int) -> np.ndarray:
    return np.random.default_rng(0).geometric(count / ROWS, size=count)


@pytest.mark.parametrize("make_groups", [equal_groups, unequal_groups])
@pytest.mark.parametrize("count", [10_000, 100_000])
@pytest.mark.parametrize("size", [1, 8, 512])
def test_seeking_to_step_a_million_of_ten_million_rows_takes_under_50_ms(
    make_groups: Callable[[int], np.ndarray], count: int, size: int
) -> None:
    group_rows = make_groups(count)

    def seconds(step: int) -> float:
        start = process_time()
        groups, rows = locate(group_rows, 1, size, step, range(size))
        taken = process_time() - start
        assert (rows < group_rows[groups]).all()
        return taken

    assert min(seconds(1_000_000 + i) for i in range(9)) < 0.05
