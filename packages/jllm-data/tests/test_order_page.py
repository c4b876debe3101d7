"""docs/data_order.md shows numbers that the code gives."""

import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np

from jllm.data.reading import mixture_order
from jllm.data.reading.mixture_shares import Shares, one_period, whole_weights
from jllm.data.reading.order import epoch_order, locate, permutation, splitmix64

PAGE = Path(__file__).parents[3] / "docs" / "data_order.md"


def example_of_the_page(number: int) -> dict:
    blocks = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return json.loads(blocks[number])


def test_the_example_of_a_mixture_is_what_the_code_gives() -> None:
    example = example_of_the_page(1)
    weights = whole_weights((Fraction("0.6"), Fraction("0.4")))
    size, seed = example["global_batch_size"], example["seed"]
    shares = Shares(weights=weights, global_batch_size=size)
    assert list(weights) == example["weights"]
    assert one_period(weights).tolist() == example["places"]
    assert list(shares.lanes) == example["lanes"]
    assert [hex(mixture_order.set_seed(seed, d, 2)) for d in range(2)] == example["seeds"]
    rows = [np.array(own) for own in example["group_rows"]]
    for step, batch in example["steps"].items():
        found = mixture_order.locate(rows, shares, seed, int(step), range(size))
        assert np.stack(found, axis=1).tolist() == batch


def test_the_worked_example_of_the_page_is_what_the_code_gives() -> None:
    example = example_of_the_page(0)
    rows, seed, size = (example[key] for key in ("group_rows", "seed", "global_batch_size"))
    assert f"{splitmix64(0):#x}" == example["splitmix64(0)"]
    assert f"{splitmix64(1):#x}" == example["splitmix64(1)"]
    for epoch in example["epochs"]:
        number = epoch["epoch"]
        assert epoch_order(rows, seed, number).groups.tolist() == epoch["groups"]
        for group, order in enumerate(epoch["rows"]):
            assert permutation(rows[group], seed, number, 1, group).tolist() == order
        for step, batch in epoch["steps"].items():
            found = np.stack(locate(np.array(rows), seed, size, int(step), range(size)), axis=1)
            assert found.tolist() == batch
