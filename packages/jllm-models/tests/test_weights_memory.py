"""Reading and writing take a small buffer beside the tensors, whatever the size of the files."""

import os
import subprocess
import sys

import pytest
import torch

from jllm.models.weights.slices import whole
from weights_helpers import write_all

ROWS, WIDTH, STAGES = 4096, 1536, 4  # 24 MiB a stage in float32, 96 MiB in the file

PEAK = """
import sys
import torch
from dataclasses import replace
from pathlib import Path
from jllm.models.weights.plan import plan_files
from jllm.models.weights.read import load_slices
from jllm.models.weights.slices import whole
from jllm.models.weights.write import create_files, write_slices

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

torch.zeros(1).to(torch.bfloat16).float()
directory = Path(sys.argv[1])
"""

LOAD = (
    PEAK
    + f"""
name, dtype, part = sys.argv[2:]
piece = whole(name, name, ({ROWS}, {WIDTH}))
if part == "column":
    box = ((0, {ROWS}), (0, {WIDTH} // 4))
    piece = replace(piece, there=box, here=box)
tensors = {{name: torch.full(piece.extents, 1.0, dtype=getattr(torch, dtype))}}
before = peak()
load_slices(directory, [piece], tensors)
sys.stdout.write(str(peak() - before))
"""
)

SAVE = (
    PEAK
    + """
tensors = {str(number): torch.rand(1024, 8192) for number in range(6)}
slices = [whole(name, name, (1024, 8192)) for name in tensors]
plan = plan_files({name: (torch.bfloat16, (1024, 8192)) for name in tensors})
before = peak()
create_files(directory, plan)
write_slices(directory, plan, slices, tensors)
sys.stdout.write(str(peak() - before))
"""
)


def growth(program: str, *arguments: str) -> int:
    """Run a program in a fresh process and return the bytes that it writes to stdout."""
    command = [sys.executable, "-c", program, *arguments]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return int(subprocess.run(command, stdout=subprocess.PIPE, check=True, env=env).stdout)


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
    assert growth(LOAD, str(directory), "stage2", dtype, part) <= 16 * 2**20


def test_writing_with_conversion_needs_a_few_pieces_only(tmp_path) -> None:
    assert growth(SAVE, str(tmp_path)) <= 40 * 2**20
