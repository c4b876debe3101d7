"""Results come in the order of the items, errors too, and a dead process is an error."""

import os
import time
from itertools import count, islice

import pytest

from jllm.data.runtime.worker_pool import AHEAD, map_in_order


def slow_square(number: int) -> int:
    time.sleep(0.02 if number % 3 == 0 else 0)
    return number * number


def fail_at_seven(number: int) -> int:
    if number == 7:
        raise ValueError("seven")
    return slow_square(number)


def die_at_seven(number: int) -> int:
    if number == 7:
        os._exit(1)
    return number


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_results_come_in_the_order_of_the_items(processes: int, threads: bool) -> None:
    expected = [(number, number * number) for number in range(40)]
    assert list(map_in_order(slow_square, range(40), processes, threads=threads)) == expected


@pytest.mark.parametrize(("processes", "threads"), [(1, False), (3, False), (3, True)])
def test_an_error_comes_after_the_results_before_it(processes: int, threads: bool) -> None:
    got = []
    with pytest.raises(ValueError, match="seven"):
        for item, _ in map_in_order(fail_at_seven, range(40), processes, threads=threads):
            got.append(item)
    assert got == list(range(7))


def test_a_process_that_dies_is_an_error() -> None:
    with pytest.raises(OSError, match="a conversion process was killed"):
        list(map_in_order(die_at_seven, range(40), 2))


def test_few_items_are_under_way_at_once() -> None:
    taken = []
    items = (taken.append(number) or number for number in count())
    results = map_in_order(slow_square, items, 2)
    for done, (item, _) in enumerate(islice(results, 30)):
        assert item == done
        assert len(taken) <= done + AHEAD * 2
    results.close()
