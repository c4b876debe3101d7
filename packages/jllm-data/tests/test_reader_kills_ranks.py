"""Fifty kills in an epoch, each time another number of readers: every row comes exactly once."""

from __future__ import annotations

import multiprocessing
import random
import time
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from jllm.data.reading.mixture import open_mixture
from jllm.data.reading.reader import LaneReader
from killed_reader_helpers import read_on
from parquet_helpers import numbered_rows, write_folder

SIZE = 12
DEADLINE = 120


class Job:
    """Readers that are started and killed together; all that is kept is what they logged."""

    def __init__(self, data: str, log: Path) -> None:
        self.data, self.log = data, log
        context = multiprocessing.get_context("forkserver")
        assert isinstance(context, ForkServerContext)
        context.set_forkserver_preload(["killed_reader_helpers"])
        self.context, self.processes = context, list[BaseProcess]()
        log.touch()

    def lanes(self) -> dict[tuple[int, int], int]:
        """The row that each (step, lane) gave; what was read again must be the same."""
        found: dict[tuple[int, int], int] = {}
        for line in self.log.read_text().splitlines():
            step, first, *numbers = map(int, line.split())
            for lane, number in enumerate(numbers, first):
                assert found.setdefault((step, lane), number) == number
        return found

    def steps_done(self) -> int:
        """The state: how many steps are whole."""
        found = self.lanes()
        step = 0
        while all((step, lane) in found for lane in range(SIZE)):
            step += 1
        return step

    def start(self, readers: int, last: int) -> None:
        steps, each = range(self.steps_done(), last), SIZE // readers
        for first in range(0, SIZE, each):
            arguments = (self.data, self.log, steps, range(first, first + each), SIZE)
            process = self.context.Process(target=read_on, args=arguments)
            process.start()
            self.processes.append(process)

    def wait_for(self, step: int) -> None:
        end = time.monotonic() + DEADLINE
        while self.steps_done() < step and time.monotonic() < end:
            time.sleep(0.01)

    def end(self, kill: bool) -> None:
        for process in self.processes:
            if kill:
                process.kill()
            process.join(DEADLINE)
            assert process.exitcode == (-9 if kill else 0)
        self.processes.clear()


@pytest.mark.parametrize(("kills", "mixed"), [(50, False), (10, True)])
def test_kills_and_resumes_read_every_row_of_an_epoch_exactly_once(
    tmp_path: Path, kills: int, mixed: bool
) -> None:
    files = {f"{i}.parquet": numbered_rows(130, first=130 * i) for i in range(12)}
    data = str(write_folder(tmp_path / "rows", files, row_group_size=16))
    if mixed:
        more = {"x.parquet": numbered_rows(400, first=10_000)}
        data += f":3,{write_folder(tmp_path / 'more', more, row_group_size=16)}:1"
    mixture = open_mixture(data)
    epoch = mixture.num_rows // SIZE
    chance = random.Random(0)
    job = Job(data, tmp_path / "log")
    for target in sorted(chance.sample(range(1, epoch - 10), kills)):
        job.start(chance.choice([1, 2, 3]), target + 8)
        job.wait_for(target)
        job.end(kill=True)
    assert kills <= job.steps_done() < epoch
    job.start(4, epoch)
    job.end(kill=False)

    found = job.lanes()
    assert sorted(found) == [(step, lane) for step in range(epoch) for lane in range(SIZE)]
    with LaneReader(mixture, seed=11, global_batch_size=SIZE, lanes=range(SIZE)) as reader:
        for step in range(epoch):
            numbers = reader.read(step).tokens[:, 0].tolist()
            assert [found[step, lane] for lane in range(SIZE)] == numbers
    if not mixed:
        assert sorted(found.values()) == list(range(12 * 130))
