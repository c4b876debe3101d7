"""How much memory a command may use, and how much of it each process fills with data."""

from __future__ import annotations

import os
import resource
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
    held: int
    """Bytes of data that each process holds at once."""


def plan_memory(limit: int, processes: int, used: int, flag: str) -> MemoryPlan:
    """Share `limit` bytes, of which this process uses `used`, among at most `processes`.

    Fewer processes where so many would hold too little each; ValueError (naming `flag`) where the
    limit is too small for one.
    """
    for count in range(processes, 0, -1):
        own = used + (PROCESS * count if count > 1 else 0)
        held = min(MOST, (limit - own) // (COPIES * count))
        if held >= LEAST:
            return MemoryPlan(processes=count, held=held)
    least = (used + COPIES * LEAST) / 2**30
    raise ValueError(f"{flag}: {limit / 2**30:.2f} GiB is too little; expected {least:.2f} or more")


def resident_bytes() -> int:
    """The memory that this process has used at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def available_bytes() -> int:
    """Memory that is free for use here: the least of the machine's and of the control group's."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    free = int(fields["MemAvailable"].split()[0]) * 1024
    left = _control_group_left(Path("/sys/fs/cgroup"))
    return free if left is None else min(free, left)


def process_count(cores: int) -> int:
    """What --cores means: −1 is 80 % of the CPUs."""
    return cores if cores > 0 else max(1, int(len(os.sched_getaffinity(0)) * 0.8))


def _control_group_left(folder: Path) -> int | None:
    try:
        limit = int((folder / "memory.max").read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no control group here, or one without a limit ("max")
        return None
    used = dict(line.split() for line in lines)
    return limit - int(used["anon"]) - int(used["shmem"])  # file caches give way
