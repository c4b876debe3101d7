"""Numbers between numpy and Arrow: the same, and no import of pandas meanwhile."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jllm.data.format.arrow_numpy import to_arrow, to_numpy
from shuffle_helpers import write_dataset


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint64, np.float32])
def test_numbers_come_back(dtype: type[np.generic]) -> None:
    numbers = np.arange(7).astype(dtype)
    for some in (numbers, numbers[1:], numbers[::2], numbers[:0]):
        there = to_arrow(some)
        assert there.equals(pa.array(some)) and there.type == pa.from_numpy_dtype(dtype)
        back = to_numpy(there)
        assert back.dtype == dtype and back.tolist() == some.tolist()


def test_nulls_are_no_numbers() -> None:
    with pytest.raises(TypeError, match="null"):
        to_numpy(pa.array([1, None]))


PROGRAM = """
import runpy, sys
pandas = []
for command in ("shuffle_datasets -d IDS -o OUT -n 2 --cores 1", "verify_data OUT",
                "inspect_data OUT --html OUT.html", "inspect_data OUT --find x",
                "inspect_data OUT --step 1 --seed 1 --global_batch_size 2"):
    sys.argv = [part.replace("IDS", IDS).replace("OUT", OUT) for part in command.split()]
    try:
        runpy.run_module(f"jllm.{sys.argv[0]}", run_name="__main__")
    except SystemExit:
        pass  # verify_data finds that the test's info file counts no tokens
    pandas.append("pandas" in sys.modules)
sys.stderr.write(f"pandas {any(pandas)} {pandas}")
"""


def test_shuffle_verify_and_inspect_import_no_pandas(tmp_path: Path) -> None:
    """Some of Arrow's ways to numpy import it where it is installed: 0.2 s of every process."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "pandas.py").write_text("")
    ids = write_dataset(tmp_path / "ids", 40)
    program = f"IDS, OUT = {str(ids)!r}, {str(tmp_path / 'out')!r}{PROGRAM}"
    path = os.pathsep.join([str(tmp_path / "modules"), *sys.path])
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert "pandas False" in ended.stderr, ended.stdout + ended.stderr
    for done in ("every row once", "1 findings", "kind", "step 1"):
        assert done in ended.stdout, ended.stdout + ended.stderr
