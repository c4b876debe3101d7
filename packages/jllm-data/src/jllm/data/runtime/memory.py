"""The memory that a command may use, and the share of it that each process fills with data."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROCESS = 64 << 20
"""The memory that a worker process needs besides data: its share of Python's and Arrow's own."""
LEAST, MOST = 24 << 20, 1 << 30
"""The limits of data per process: with less, files are cut too small; more gains nothing."""
COPIES = 3
"""The number of copies of the data at peak memory (read, ordered, encoded)."""


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """The division of a memory limit among processes."""

    processes: int
    buffer_bytes: int
    """The bytes of data that each process holds at a time."""


def plan_memory(limit: int, processes: int, used: int, flag: str) -> MemoryPlan:
    """Divide `limit` bytes, of which this process uses `used`, among at most `processes`.

    The plan has fewer processes where each would hold too little data. Raises ValueError (naming
    `flag`) where the limit is too small for one.
    """
    for count in range(processes, 0, -1):
        own = used + (PROCESS * count if count > 1 else 0)
        buffer_bytes = min(MOST, (limit - own) // (COPIES * count))
        if buffer_bytes >= LEAST:
            return MemoryPlan(processes=count, buffer_bytes=buffer_bytes)
    least = (used + COPIES * LEAST) / 2**30
    raise ValueError(f"{flag}: {limit / 2**30:.2f} GiB is too little; expected {least:.2f} or more")


def resident_bytes() -> int:
    """Return this program's peak memory (getrusage would count the program that started it too)."""
    return _fields(Path("/proc/self/status"))["VmHWM"]


def available_bytes() -> int:
    """Return the available memory: the lesser of the machine's and the control group's."""
    free = _fields(Path("/proc/meminfo"))["MemAvailable"]
    left = _control_group_left(Path("/sys/fs/cgroup"))
    return free if left is None else min(free, left)


def process_count(cores: int) -> int:
    """Return the number of processes for --cores: −1 is 80 % of the CPUs."""
    return cores if cores > 0 else max(1, int(len(os.sched_getaffinity(0)) * 0.8))


def _fields(path: Path) -> dict[str, int]:
    """Return the values in the lines `name: number kB` of a kernel file, in bytes."""
    words = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {some[0].rstrip(":"): int(some[1]) << 10 for some in words if some[2:] == ["kB"]}


def _control_group_left(folder: Path) -> int | None:
    try:
        limit = int((folder / "memory.max").read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no control group, or one without a limit ("max")
        return None
    used = dict(line.split() for line in lines)
    return limit - int(used["anon"]) - int(used["shmem"])  # file caches can be reclaimed


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Disable Python's search for reference cycles within the context (also as a decorator).

    The search runs over all objects whenever there are many new ones: a sixth of the time of
    importing Transformers and of reading vocabularies, for nothing.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
