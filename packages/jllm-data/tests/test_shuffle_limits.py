"""The shuffle under a memory limit, and stopped, killed or out of disk in the middle."""

import dataclasses
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jllm.data.reading.dataset import open_dataset
from jllm.data.writing.staging import STAGING
from shuffle_helpers import METADATA, run_shuffle, write_dataset

LIMIT = 400 << 20
"""Bytes for all processes together."""
RESERVED = 128 << 20
"""What RLIMIT_DATA counts beside: address space that nobody touches, such as stacks of threads."""
ROWS, LONG_ROWS = 54_000, dataclasses.replace(METADATA, max_len=2049)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """440 MB of rows in memory: more than the limit, 13 times what each process holds."""
    return write_dataset(tmp_path_factory.mktemp("large") / "ids", ROWS, metadata=LONG_ROWS)


@pytest.fixture(scope="module")
def middling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some seconds of work."""
    return write_dataset(tmp_path_factory.mktemp("middling") / "ids", 12_000, metadata=LONG_ROWS)


def start(folder: Path, output: Path, *flags: str, limit: int | None = None) -> subprocess.Popen:
    command = [sys.executable, "-m", "jllm.shuffle_datasets", "-d", str(folder), "-o", str(output)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [*command, *flags],
        env=environment,
        preexec_fn=None
        if limit is None
        else lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
    )


def memory_of_tree(process: int) -> int:
    """Bytes of a process and its children, pages that they share counted once."""
    total = 0
    for one in [process, *children_of(process)]:
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return total


def children_of(process: int) -> list[int]:
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for child in children.split()]


def test_all_processes_together_stay_below_the_limit(tmp_path: Path, large: Path) -> None:
    """Each process under RLIMIT_DATA too, where more is an error."""
    flags = ["-n", "5", "-c", "snappy", "--cores", "2", "--mem_gb", f"{LIMIT / 2**30}"]
    process, most = start(large, tmp_path / "out", *flags, limit=LIMIT + RESERVED), 0
    while process.poll() is None:
        most = max(most, memory_of_tree(process.pid))
        time.sleep(0.05)
    assert process.returncode == 0
    assert open_dataset(tmp_path / "out").num_rows == ROWS
    assert 100 << 20 < most < LIMIT


@pytest.mark.parametrize(
    ("sent", "code", "reached"),
    [
        (signal.SIGINT, 130, "run-*"),
        (signal.SIGTERM, 143, "*.parquet"),
        (signal.SIGKILL, -9, "run-*"),
        (signal.SIGKILL, -9, "*.parquet"),
    ],
)
def test_a_shuffle_that_is_stopped_shows_nothing(
    tmp_path: Path, middling: Path, sent: signal.Signals, code: int, reached: str
) -> None:
    out = tmp_path / "out"
    process = start(middling, out, "-n", "12", "--cores", "2")
    while process.poll() is None and not list((out / STAGING).glob(reached)):
        time.sleep(0.01)
    assert process.poll() is None, "the shuffle was too quick to be interrupted"
    workers = children_of(process.pid)
    process.send_signal(sent)
    assert process.wait(120) == code
    if sent != signal.SIGKILL:
        assert not out.exists()
        return
    assert [path.name for path in out.iterdir()] == [STAGING]
    deadline = time.monotonic() + 120
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "worker processes outlive the command"
        time.sleep(0.02)
    with pytest.MonkeyPatch.context() as patch:
        run_shuffle(patch, write_dataset(tmp_path / "small", 20), out)
    assert not (out / STAGING).exists() and open_dataset(out).num_rows == 20


def test_what_started_the_program_does_not_count_as_its_memory() -> None:
    code = "from jllm.data.runtime.memory import *; print(resident_bytes(), available_bytes())"
    ballast = bytearray(300 << 20)
    ballast[:: 1 << 12] = b"x" * (len(ballast) >> 12)
    text = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        preexec_fn=os.getpid,  # makes it a fork of this process
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    used, free = map(int, text.split())
    assert 5 << 20 < used < 200 << 20 < free


def test_a_full_disk_is_an_error_that_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_dataset(tmp_path / "ids", 3000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="--output .*out: File too large; make room"):
            run_shuffle(monkeypatch, folder, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "out").exists()
