"""Measure the processor time of every command's `--help`: `python tools/bench/help.py`.

User and system time of the child process, the least of several runs; expected below 0.7 s. Other
load on the machine makes it longer.
"""

import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

RUNS = 5
LIMIT_SECONDS = 0.7
SOURCES = sorted((Path(__file__).parents[2] / "packages").glob("*/src"))


def commands() -> list[str]:
    """Return the modules of this tree that are run with `python -m`."""
    return sorted(
        ".".join(path.relative_to(source).with_suffix("").parts)
        for source in SOURCES
        for path in source.rglob("*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
        and path.parent.name != "doctor"  # its probes take no flags
    )


def processor_seconds(command: str) -> float:
    """Return the user and system time of one `--help`."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, SOURCES))}
    child = subprocess.Popen(
        [sys.executable, "-m", command, "--help"],
        stdout=subprocess.DEVNULL,
        env=environment,
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command} --help: exit code {child.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """Measure and print; return 1 if a command is over the limit."""
    table, slow = Table("command", "processor seconds"), False
    for command in commands():
        least = min(processor_seconds(command) for _ in range(RUNS))
        slow |= least > LIMIT_SECONDS
        table.add_row(command, f"{least:.2f}")
    Console().print(table)
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
