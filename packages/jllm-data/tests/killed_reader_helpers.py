"""A reader process that writes down what it read and is killed at any moment."""

from __future__ import annotations

import os
import time
from pathlib import Path

from jllm.data.reading.mixture import open_mixture
from jllm.data.reading.reader import LaneReader


def read_on(data: str, log: Path, steps: range, lanes: range, size: int) -> None:
    """Read `steps`, and where the epoch goes on wait to be killed.

    A line of `log` a step: step, first lane, rows (the first id of a row is its number). A line is
    one write, so a kill leaves whole lines.
    """
    with LaneReader(open_mixture(data), seed=11, global_batch_size=size, lanes=lanes) as reader:
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for step in steps:
            numbers = reader.read(step).tokens[:, 0].tolist()
            os.write(file, f"{step} {lanes.start} {' '.join(map(str, numbers))}\n".encode())
            time.sleep(0.001)
        if steps.stop < reader.steps_per_epoch:
            time.sleep(1000)
