"""Writing the files of a model with an adapter added, piece by piece.

A file of the result has the header of the model's file and the same tensors at the same places, so
every range of bytes is either copied or computed from the same range. Files are written as `*.part`
in a hidden folder beside the output and renamed when finished; in the end the folder is renamed to
the output. An interrupted merge of the same inputs continues with the unfinished file.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch

from jllm.models.lora.adapter_config import CONFIG
from jllm.models.lora.adapter_files import Adapter, Pair, open_adapter
from jllm.models.lora.base import BASE, digest_of_pieces, piece_digests, read_base
from jllm.models.lora.merge import merged
from jllm.models.weights.format import Entry
from jllm.models.weights.read import WeightFiles, open_weights
from jllm.models.weights.verify import verify_read
from jllm.models.weights.write import naming_errors

PIECE_BYTES = 8 * 2**20
MERGED_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")
"""Endings of files that are not copied: they hold the model without the adapter."""
LEFT_OUT = ("manifest.json", CONFIG)
"""Other files that are not copied, since they would not be true of the result."""
STARTED = "merge.json"

Report = Callable[[str, int, int], None]
"""Called with `checking` or `merging`, the bytes done, and the bytes in total."""


@dataclass(frozen=True)
class Merged:
    """The result of a merge."""

    matrices: int
    files: int

    def __str__(self) -> str:
        """Format it as one line."""
        return f"{self.matrices} weights merged, {self.files} files of weights"


def merge_files(
    model: Path, adapter_dir: Path, output: Path, report: Report = lambda *_: None
) -> Merged:
    """Write `model` with the adapter added to the new directory `output`.

    Raises ValueError, before anything is written, where model or adapter do not match their
    manifest, where the adapter names another base, or tensors that the model does not have in these
    shapes, where a weight is quantised, and where `output` exists; OSError where a file cannot be
    read or written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"--output {output}: is there already; name a new directory")
    for directory in (model, adapter_dir):
        verify_read(directory)
    files = open_weights(model)
    adapter = open_adapter(
        adapter_dir, {name: entry.shape for name, (_, entry) in files.tensors.items()}
    )
    for name in adapter.pairs:
        if (dtype := files.tensors[name][1].dtype) not in MERGED_DTYPES:
            raise ValueError(
                f"--model {model}: {name} is {dtype}; {_by_training(model, adapter_dir)}"
            )
    _check_base(model, adapter_dir, files, report)
    work = _begin(output, _inputs(files, adapter_dir))
    paths = sorted({path for path, _ in files.tensors.values()})
    total = sum(path.stat().st_size for path in paths)
    before = 0
    for path in paths:
        entries = {n: entry for n, (where, entry) in files.tensors.items() if where == path}
        if not (work / path.name).exists():
            start = before
            _merge_file(
                path,
                work / path.name,
                entries,
                adapter,
                lambda done, start=start: report("merging", start + done, total),
            )
        before += path.stat().st_size
        report("merging", before, total)
    for path in _small_files(model):
        shutil.copyfile(path, work / path.name)
    (work / STARTED).unlink()
    if output.exists():
        output.rmdir()
    work.rename(output)
    return Merged(matrices=len(adapter.pairs), files=len(paths))


def _check_base(model: Path, adapter: Path, files: WeightFiles, report: Report) -> None:
    """Refuse a model on which the adapter was not trained, where its base is known."""
    base = read_base(adapter)
    if base is None:
        return
    total = sum(path.stat().st_size for path in {path for path, _ in files.tensors.values()})
    done = 0

    def add(size: int) -> None:
        nonlocal done
        done += size
        report("checking", done, total)

    if digest_of_pieces([piece_digests(model, done=add)]) != base.digest:
        raise ValueError(
            f"--model {model}: not the weights that the adapter was trained on; that was "
            f"{base.path}; to merge with these nonetheless, remove {adapter / BASE}"
        )


def _by_training(model: Path, adapter: Path) -> str:
    """Return the command that merges into weights that have to be dequantised."""
    return (
        f"python -m jllm.train_pipe --model {model} --lora_adapter {adapter} --num_train_epochs 0 "
        "--output_dir MERGED_DIR dequantises and merges"
    )


def _inputs(files: WeightFiles, adapter: Path) -> str:
    """Return a JSON text that identifies these inputs: sizes and times of all files."""
    paths = sorted({path for path, _ in files.tensors.values()})
    found = [path.resolve() for path in (*paths, *sorted(adapter.glob("adapter_*")))]
    listed = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in found]
    return json.dumps({"inputs": hashlib.blake2b(json.dumps(listed).encode()).hexdigest()})


def _begin(output: Path, inputs: str) -> Path:
    """Return the working folder: that of an interrupted merge of the same inputs, or a new one."""
    work = output.resolve().parent / f".tmp-merge-{output.resolve().name}"
    started = work / STARTED
    if work.exists() and (not started.exists() or started.read_text() != inputs):
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    started.write_text(inputs)
    return work


def _merge_file(
    source: Path,
    target: Path,
    entries: dict[str, Entry],
    adapter: Adapter,
    report: Callable[[int], None],
) -> None:
    """Write one file of the result; it gets its name once it is complete and synced to disk."""
    part = target.with_name(f"{target.name}.part")
    with source.open("rb") as file, part.open("wb") as out, naming_errors(part):
        for name, entry in sorted(entries.items(), key=lambda item: item[1].offset):
            pair = adapter.pairs.get(name)
            if pair is None:
                continue
            _copy(file, out, entry.offset, report)
            for data in _sums(file, entry, pair):
                out.write(data)
                report(out.tell())
        _copy(file, out, os.fstat(file.fileno()).st_size, report)
        out.flush()
        os.fsync(out.fileno())
    part.rename(target)


def _copy(file: BinaryIO, out: BinaryIO, stop: int, report: Callable[[int], None]) -> None:
    """Copy the bytes from the end of `out` up to `stop`."""
    file.seek(out.tell())
    while (left := stop - out.tell()) > 0:
        data = file.read(min(left, PIECE_BYTES))
        if not data:
            raise ValueError(f"{file.name}: became shorter while it was read")
        out.write(data)
        report(out.tell())


def _sums(file: BinaryIO, entry: Entry, pair: Pair) -> Iterator[memoryview]:
    """Yield the bytes of a weight with its adapter added, some rows at a time."""
    a_RI, b_OR = pair.read()
    count, width = entry.shape
    step = max(PIECE_BYTES // max(width * entry.dtype.itemsize, 1), 1)
    file.seek(entry.offset)
    for start in range(0, count, step):
        rows = min(step, count - start)
        data = bytearray(rows * width * entry.dtype.itemsize)
        if file.readinto(data) != len(data):  # type: ignore[attr-defined]
            raise ValueError(f"{file.name}: became shorter while it was read")
        weight_OI = torch.frombuffer(data, dtype=entry.dtype).view(rows, width)
        sums_OI = merged(weight_OI, a_RI, b_OR[start : start + rows], pair.scale)
        yield sums_OI.view(torch.uint8).numpy().data


def _small_files(model: Path) -> Iterator[Path]:
    """Yield the configuration, the tokenizer and all other files beside the weights."""
    for path in sorted(model.iterdir()):
        left_out = path.name in LEFT_OUT or path.suffix in WEIGHTS or path.name.startswith(".")
        if path.is_file() and not left_out:
            yield path
