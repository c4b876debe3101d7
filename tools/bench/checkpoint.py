"""Compare saving and loading checkpoints with plain files; measure the memory of loading a stage.

    python tools/bench/checkpoint.py --mib 1024 --repeats 5 --folder /path/on/the/disk

Writes a model of `--mib` MiB of float32 with Adam's two moments (three times that in all), and the
same number of bytes as one plain file; both are synced to disk. Runs are interleaved, and each pair
gives a ratio. Reads come from the page cache, like those of a run that resumes soon after saving.
The memory is the growth of a fresh process's peak (VmHWM) while it loads one of four stages.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from jllm.models.weights.read import load_slices
from jllm.models.weights.slices import Slice, whole
from jllm.parallel.checkpoint.contents import CheckpointContents, Held
from jllm.parallel.checkpoint.folder import find
from jllm.parallel.checkpoint.group import SingleProcess
from jllm.parallel.checkpoint.load import load_states
from jllm.parallel.checkpoint.save import save_checkpoint
from jllm.parallel.checkpoint.verify import verify

MIB = 2**20
STAGES = 4
MOMENTS = ("exp_avg", "exp_avg_sq")
STATE = {"step": 1, "seed": 0, "global_batch_size": 1, "data_digest": "", "tokenizer_digest": "",
         "flags": {}}  # fmt: skip


def model_slices(mib: int) -> tuple[Slice, ...]:
    """Return whole tensors of 2 MiB, a quarter of them in each stage."""
    count = max(mib // 2 // STAGES, 1)
    names = [f"stage{stage}.{number}" for stage in range(STAGES) for number in range(count)]
    return tuple(whole(name, name, (512, 1024)) for name in names)


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that some work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def write_plainly(path: Path, piece: bytes, count: int) -> None:
    """Write a piece repeatedly to a new file and sync it to disk."""
    with path.open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(piece)
        os.fsync(file.fileno())


def read_plainly(path: Path, memory: memoryview) -> None:
    """Read a file from its start into memory."""
    with path.open("rb", buffering=0) as file:
        filled = 0
        while filled < len(memory):
            filled += file.readinto(memory[filled : filled + 8 * MIB]) or 0


def stage_peak(folder: Path, mib: int) -> None:
    """Load one of four stages; write the growth of peak memory in bytes to stdout."""

    def peak() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    slices = [piece for piece in model_slices(mib) if piece.parameter.startswith("stage1.")]
    before = peak()
    tensors = {piece.parameter: torch.empty(piece.extents) for piece in slices}
    load_slices(find(folder).path, slices, tensors)
    sys.stdout.write(f"{peak() - before} {sum(t.nbytes for t in tensors.values())}")


def measure(folder: Path, mib: int, repeats: int, console: Console) -> None:
    """Run all measurements and show them."""
    slices = model_slices(mib)
    tensors = {piece.parameter: torch.rand(piece.extents) for piece in slices}
    held = Held(slices=slices, tensors=tensors, dtype=torch.float32)
    contents = CheckpointContents(
        step=1,
        shapes={piece.tensor: piece.shape for piece in slices},
        weights=held,
        optimizer=dict.fromkeys(MOMENTS, held),
        state=STATE,
    )
    size = 3 * sum(tensor.nbytes for tensor in tensors.values())
    piece, plain = bytes(torch.rand(2 * MIB).numpy().data), folder / "plain"
    memory = memoryview(bytearray(size // 3))

    def load() -> None:
        path = find(folder).path
        load_slices(path, slices, tensors)
        load_states(path, {name: (slices, tensors) for name in MOMENTS})

    def load_plainly() -> None:
        for _ in range(3):
            read_plainly(plain, memory)

    works = {
        "write": (
            lambda: write_plainly(plain, piece, size // len(piece)),
            lambda: save_checkpoint(folder, contents, SingleProcess()),
        ),
        "read": (load_plainly, load),
        "verify": (load_plainly, lambda: verify(find(folder))),
    }
    table = Table("", "plain GB/s", "checkpoint GB/s", "time ratio (median of pairs)")
    for name, pair in works.items():
        times = [[seconds(work) for work in pair] for _ in range(repeats + 1)][1:]
        medians = [statistics.median(column) for column in zip(*times, strict=True)]
        ratio = statistics.median(ours / plain for plain, ours in times)
        table.add_row(name, *(f"{size / m / 1e9:.2f}" for m in medians), f"{ratio:.2f}")
    console.print(f"{size / MIB:.0f} MiB in all, {repeats} pairs, torch {torch.__version__}")
    console.print(table)
    command = [sys.executable, __file__, "--peak_of", str(folder), "--mib", str(mib)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    grown, stage = (int(word) / MIB for word in result.stdout.split())
    console.print(f"one of {STAGES} stages: {stage:.1f} MiB, peak + {grown - stage:.1f} MiB")


def main() -> None:
    """Parse the flags and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--mib", type=int, default=512, help="MiB of weights")
    parser.add_argument(
        "--repeats", type=int, default=5, help="pairs, after a first one that does not count"
    )
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--peak_of", type=Path, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.peak_of:
        stage_peak(flags.peak_of, flags.mib)
        return
    folder = Path(tempfile.mkdtemp(dir=flags.folder))
    try:
        measure(folder, flags.mib, flags.repeats, Console())
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
