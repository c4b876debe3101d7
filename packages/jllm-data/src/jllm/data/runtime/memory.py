"""How much memory a command may use, and how much of it each process fills with data."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROCESS = 64 << 20
"""What a worker process needs beside data: its share of Python's and Arrow's own memory."""
LEAST, MOST = 24 << 20, 1 << 30
"""Data a process holds at once: below, files are cut too small; above, nothing is gained."""
COPIES = 3
"""What is held at once is there so many times at the worst moment (read, put in order, encoded)."""


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """How a memory limit is shared."""

    processes: int
    buffer_bytes: int
    """Bytes of data that each process holds at once."""


def plan_memory(limit: int, processes: int, used: int, flag: str) -> MemoryPlan:
    """Share `limit` bytes, of which this process uses `used`, among at most `processes`.

    Fewer processes where so many would hold too little each; ValueError (naming `flag`) where the
    limit is too small for one.
    """
    for count in range(processes, 0, -1):
        own = used + (PROCESS * count if count > 1 else 0)
        buffer_bytes = min(MOST, (limit - own) // (COPIES * count))
        if buffer_bytes >= LEAST:
            return MemoryPlan(processes=count, buffer_bytes=buffer_bytes)
    least = (used + COPIES * LEAST) / 2**30
    raise ValueError(f"{flag}: {limit / 2**30:.2f} GiB is too little; expected {least:.2f} or more")


def resident_bytes() -> int:
    """Return the most memory that this program has used (getrusage counts what started it too)."""
    return _fields(Path("/proc/self/status"))["VmHWM"]


def available_bytes() -> int:
    """Memory that is free for use here: the least of the machine's and of the control group's."""
    free = _fields(Path("/proc/meminfo"))["MemAvailable"]
    left = _control_group_left(Path("/sys/fs/cgroup"))
    return free if left is None else min(free, left)


def process_count(cores: int) -> int:
    """Return what --cores means: −1 is 80 % of the CPUs."""
    return cores if cores > 0 else max(1, int(len(os.sched_getaffinity(0)) * 0.8))


def _fields(path: Path) -> dict[str, int]:
    """Return the lines `name: number kB` of a file of the kernel's, in bytes."""
    words = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {some[0].rstrip(":"): int(some[1]) << 10 for some in words if some[2:] == ["kB"]}


def _control_group_left(folder: Path) -> int | None:
    try:
        limit = int((folder / "memory.max").read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no control group here, or one without a limit ("max")
        return None
    used = dict(line.split() for line in lines)
    return limit - int(used["anon"]) - int(used["shmem"])  # file caches give way


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Within it (also as a decorator) Python does not look for cycles of garbage.

    It does so whenever there are many new objects, among all: a sixth of the time of importing
    Transformers and of reading vocabularies, in vain.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
