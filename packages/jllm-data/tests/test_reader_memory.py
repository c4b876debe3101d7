"""A reader needs its row groups and 160 MiB, however large the data set is.

The limit is the kernel's, on all memory that a process of its own may write to (RLIMIT_DATA). Two
things of which only a part is ever used are kept small, for the kernel counts them whole: threads'
stacks, and what Arrow's allocator reserves ahead. What the process holds before it reads differs
from machine to machine, so it is measured, and the data set is made ten times the limit.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jllm.data.dataset import open_dataset
from jllm.data.digest import row_group_digest
from jllm.data.row_groups import RowGroupFiles
from parquet_helpers import INT32_LISTS, write_info

LANES, AHEAD = 2, 4
MAX_LEN, ROWS, GROUPS = 8193, 64, 32
GROUP_BYTES = 4 * ROWS * MAX_LEN
CONSTANT = 160 << 20
"""As docs/reading.md states it."""

PROGRAM = """
import resource, sys
from jllm.data.dataset import open_dataset
from jllm.data.reader import LaneReader

room, stride = int(sys.argv[1]), int(sys.argv[2])
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
limit = (int(status["VmData"].split()[0]) << 10) + room
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
print(limit, flush=True)
folder = sys.stdin.readline().rstrip("\\n")
dataset = open_dataset(folder)
lanes = range(2)
with LaneReader(dataset, seed=1, global_batch_size=2, lanes=lanes, shuffle=False) as reader:
    steps = range(0, reader.steps_per_epoch, stride)
    total = sum(int(reader.read(step).tokens[:, 0].sum()) for step in steps)
print(len(steps), total)
"""


def make_dataset(root: Path, files: int) -> Path:
    """Files of equal content; the ids of a row are the number of its row group: it packs well."""
    listed = []
    for number in range(files):
        name = f"{number:04}.parquet"
        if number == 0:
            digests = write(root / name)
        else:
            shutil.copy(root / "0000.parquet", root / name)
        groups = [{"num_samples": ROWS, "digest": digest} for digest in digests]
        listed.append({"name": name, "num_samples": ROWS * GROUPS, "row_groups": groups})
    write_info(root, num_samples=ROWS * GROUPS * files, max_len=MAX_LEN, files=listed)
    return root


def write(path: Path) -> list[str]:
    digests, schema = [], pa.schema([("input_ids", INT32_LISTS), ("cu_seqlens", INT32_LISTS)])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for number in range(GROUPS):
            ids = np.full((ROWS, MAX_LEN), number, dtype=np.int32)
            columns = [pa.array(list(ids), INT32_LISTS), pa.array([[0, MAX_LEN - 1]] * ROWS)]
            table = pa.table([column.cast(INT32_LISTS) for column in columns], schema=schema)
            writer.write_table(table)
            digests.append(row_group_digest({name: table[name] for name in schema.names}))
    return digests


def start_reader(room: int) -> subprocess.Popen[str]:
    """A process that may take `room` more bytes than it starts with.

    It says its limit, and reads a row of every row group of the folder that it is told.
    """
    path = os.pathsep.join([*sys.path, *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(room), str(ROWS)],
        env=os.environ | {"MIMALLOC_ARENA_EAGER_COMMIT": "0", "PYTHONPATH": path},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, -1)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_data_set_ten_times_the_memory_is_read_within_the_stated_memory(tmp_path: Path) -> None:
    with start_reader((LANES + AHEAD) * GROUP_BYTES + CONSTANT) as process:
        assert process.stdout is not None
        limit = int(process.stdout.readline())
        files = -(-10 * limit // (GROUPS * GROUP_BYTES))
        output, errors = process.communicate(f"{make_dataset(tmp_path, files)}\n")
    assert process.returncode == 0, errors
    steps, total = map(int, output.split())
    assert steps * LANES == files * GROUPS
    assert total == files * sum(range(GROUPS))


def test_too_little_memory_is_said_to_be_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 4195328 failed")

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", fails)
    with pytest.raises(ValueError, match="0000.parquet, row group 3: there is no memory for it"):
        RowGroupFiles(open_dataset(make_dataset(tmp_path, 1))).read(3)
