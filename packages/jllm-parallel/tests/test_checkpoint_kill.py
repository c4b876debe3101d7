"""A process killed at any moment of a save leaves a complete checkpoint to continue from."""

import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from checkpoint_helpers import assert_loads, contents
from jllm.parallel.checkpoint import folder as folders
from jllm.parallel.checkpoint.folder import clean, find
from jllm.parallel.checkpoint.group import SingleProcess
from jllm.parallel.checkpoint.save import save_checkpoint
from jllm.parallel.checkpoint.verify import verify

EFFECTS = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir"}


def in_child(work: Callable[[], None], kill_after_s: float = 0) -> int:
    """Run some work in a forked process; return its status as `os.waitpid` does.

    After `kill_after_s` seconds of its own processor time, if any, SIGPROF ends it as SIGKILL
    would: what else the machine does then moves no kill.
    """
    child = os.fork()
    if child == 0:
        try:
            signal.setitimer(signal.ITIMER_PROF, kill_after_s)
            work()
            os._exit(0)
        finally:  # only after an exception
            traceback.print_exc()
            os._exit(1)
    return os.waitpid(child, 0)[1]


def kill_myself_at(number: int) -> None:
    """Make this process kill itself before its `number`-th effect on the file system."""
    left = [number]

    def count(event: str, _: object) -> None:
        if event in EFFECTS:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def assert_continues(folder: Path, steps: set[int]) -> None:
    """Assert that cleaning up leaves a complete checkpoint of one of these steps."""
    clean(folder)
    found = find(folder)
    assert found.manifest.step in steps
    verify(found)
    assert_loads(found.path, found.manifest.step)


@pytest.mark.parametrize("second", [1, 2], ids=["the same step again", "the next step"])
@pytest.mark.parametrize("can_exchange", [True, False])
def test_killed_before_each_effect_on_the_disk(tmp_path, monkeypatch, second, can_exchange) -> None:
    if not can_exchange:
        monkeypatch.setattr(folders, "exchange", lambda one, other: False)
    status, number = -1, 0
    while status != 0:
        folder = tmp_path / str(number)
        save_checkpoint(folder, contents(1), SingleProcess())

        def work(folder: Path = folder, number: int = number) -> None:
            kill_myself_at(number)
            save_checkpoint(folder, contents(second), SingleProcess(), keep=1)

        status = in_child(work)
        assert status in (0, signal.SIGKILL)
        verify(find(folder))
        assert_continues(folder, {1, second})
        number += 1
    assert number > 20
    assert {p.name for p in folder.iterdir()} == {str(second), "latest"}


def test_killed_at_random_moments_of_many_saves(tmp_path) -> None:
    choose = random.Random(0)
    step = 1
    save_checkpoint(tmp_path, contents(step), SingleProcess())

    def work() -> None:
        for following in range(step + 1, step + 1000):
            save_checkpoint(tmp_path, contents(following), SingleProcess(), keep=2)

    for _ in range(50):
        assert in_child(work, kill_after_s=choose.uniform(0.001, 0.1)) == signal.SIGPROF
        assert_continues(tmp_path, set(range(step, step + 1000)))
        step = find(tmp_path).manifest.step
    assert step > 1
    save_checkpoint(tmp_path, contents(step + 1), SingleProcess(), keep=1)
    assert {path.name for path in tmp_path.iterdir()} == {str(step + 1), "latest"}
