"""Loading one of four stages takes that stage's bytes and a small buffer, whatever the file."""

import os
import subprocess
import sys

import pytest
import torch

from jllm.models.weights.slices import whole
from weights_helpers import write_all

ROWS, WIDTH, STAGES = 4096, 1536, 4  # 24 MiB a stage in float32, 96 MiB in the file

PROGRAM = f"""
import sys, torch
from pathlib import Path
from dataclasses import replace
from jllm.models.weights.read import load_slices
from jllm.models.weights.slices import whole

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

directory, names, dtype, column = sys.argv[1], sys.argv[2].split(","), sys.argv[3], sys.argv[4]
slices = [whole(name, name, ({ROWS}, {WIDTH})) for name in names]
if column == "column":
    half = ((0, {ROWS}), (0, {WIDTH} // 4))
    slices = [replace(piece, there=half, here=half) for piece in slices]
shape = slices[0].extents
torch.zeros(1).to(torch.bfloat16).float()
tensors = {{name: torch.full(shape, 1.0, dtype=getattr(torch, dtype)) for name in names}}
before = peak()
load_slices(Path(directory), slices, tensors)
sys.stdout.write(str(peak() - before))
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    shapes = {f"stage{number}": (ROWS, WIDTH) for number in range(STAGES)}
    model = {name: torch.rand(shape) for name, shape in shapes.items()}
    slices = [whole(name, name, shape) for name, shape in shapes.items()]
    path = tmp_path_factory.mktemp("memory") / "m"
    write_all(path, shapes, torch.float32, [(slices, model)])
    return path


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("part", ["whole", "column"])
def test_loading_one_of_four_stages_needs_a_small_buffer_only(directory, dtype, part) -> None:
    command = [sys.executable, "-c", PROGRAM, str(directory), "stage2", dtype, part]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert int(result.stdout) <= 16 * 2**20
