"""The machine as the operating system describes it: processor, memory, disks."""

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jllm.cli.doctor.finding import Finding

SMALL_SHARED_MEMORY = 1 << 30
"""With less (bytes), processes that exchange tensors through /dev/shm may run out of it. Containers
have 64 MiB by default."""


def gib(size: float) -> str:
    """Return a number of bytes as text: 23.4 GiB."""
    return f"{size / 2**30:,.1f} GiB"


def look_at_machine(root: Path = Path("/")) -> Iterator[Finding]:
    """Yield findings on Python, processor, memory and the disks that runs write to."""
    python = f"{platform.python_version()}, {sys.executable}"
    cores = len(os.sched_getaffinity(0))
    yield _found("Python", python)
    yield _found("processor", f"{_processor(root)}, {cores} cores for this process")
    yield _found("memory", _memory(root))
    for name, folder in (("this folder", "."), ("temporary", tempfile.gettempdir())):
        usage = shutil.disk_usage(folder)
        where = Path(folder).resolve()
        yield _found(name, f"{where}: {gib(usage.free)} free of {gib(usage.total)}")
    shared = root / "dev/shm"
    if shared.is_dir():
        usage = shutil.disk_usage(shared)
        told = f"/dev/shm: {gib(usage.free)} free of {gib(usage.total)}"
        small = usage.total < SMALL_SHARED_MEMORY
        yield Finding(
            group="machine",
            name="shared memory",
            state="found",
            detail=told,
            mend="docker run --shm-size 8g, if this is a container" if small else "",
        )


def _found(name: str, detail: str) -> Finding:
    return Finding(group="machine", name=name, state="found", detail=detail)


def _processor(root: Path) -> str:
    """Return the processor's name, or its architecture if the system gives no name."""
    cpuinfo = root / "proc/cpuinfo"
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _memory(root: Path) -> str:
    """Return the machine's memory, or the limit of the control group if that is less."""
    meminfo = root / "proc/meminfo"
    if not meminfo.exists():
        return "unknown"
    fields = dict(re.findall(r"^(\w+): +(\d+) kB$", meminfo.read_text(), re.MULTILINE))
    total, free = (int(fields[name]) * 1024 for name in ("MemTotal", "MemAvailable"))
    told = f"{gib(total)}, {gib(free)} available"
    limit = root / "sys/fs/cgroup/memory.max"
    if limit.exists() and (allowed := limit.read_text().strip()) != "max" and int(allowed) < total:
        told += f"; the control group allows {gib(int(allowed))}"
    return told
