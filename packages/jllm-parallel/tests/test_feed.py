"""The feed works ahead of the computation."""

import threading

import numpy as np
import pytest

from jllm.data.reading.reader import Batch
from jllm.parallel.distributed.mesh import Mesh
from jllm.parallel.feed.feed import Feed, lanes
from jllm.parallel.feed.step_data import StepShape


class SlowReader:
    """A reader whose steps can be watched."""

    def __init__(self) -> None:
        self.read_steps = [threading.Event() for _ in range(4)]

    def read(self, step: int) -> Batch:
        self.read_steps[step].set()
        values = np.full((2, 4), step, dtype=np.int32)
        bounds = [np.array([0, 4], dtype=np.int32)] * 2
        return Batch(step=step, tokens=values, targets=values, bounds=bounds)

    def close(self) -> None:
        pass


def test_the_next_step_is_read_while_this_one_is_computed() -> None:
    reader = SlowReader()
    shape = StepShape(micro_batches=2, rows=1, length=4)
    feed = Feed({"train": reader}, Mesh(), shapes={"train": shape}, vocabulary=9)  # type: ignore[dict-item]
    feed.request("train", 0)
    first = feed.get()
    feed.request("train", 1)
    assert reader.read_steps[1].wait(10)  # nobody has asked for its data yet
    assert not reader.read_steps[2].is_set()
    assert [m.tokens.tolist() for m in first.micro_batches if m.tokens is not None] == [[0] * 4] * 2
    assert feed.get().micro_batches[0].tokens.tolist() == [1] * 4  # type: ignore[union-attr]
    feed.close()


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_replicas_share_all_lanes(replicas: int) -> None:
    parts = [lanes(8, replicas, r) for r in range(replicas)]
    assert [lane for part in parts for lane in part] == list(range(8))
