"""docs/data_order.md shows numbers that the code gives."""

import json
import re
from pathlib import Path

import numpy as np

from jllm.data.order import epoch_order, locate, permutation, splitmix64

PAGE = Path(__file__).parents[3] / "docs" / "data_order.md"


def test_the_worked_example_of_the_page_is_what_the_code_gives() -> None:
    blocks = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    example = json.loads(blocks[0])
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
