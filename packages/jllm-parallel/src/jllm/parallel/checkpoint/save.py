"""Saving: every rank writes its own slices at their final place, then one rename publishes them.

    rank 0      clean up, make .tmp-save-<step>-…, create all files at full size
    all ranks   write and sync their slices, give rank 0 the digests
    rank 0      manifest, sync, rename to <step>, `latest`, remove the oldest

A failure on any rank is raised on all of them, after the temporary directory is gone; what was
there before stays as it was. Costs one pass over the bytes, 32 MiB of memory at most beside the
tensors, and three exchanges of short messages. May run on another thread with a group of its own.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from jllm.models.lora.adapter_config import STEM
from jllm.models.weights.manifest import NAME as MANIFEST
from jllm.models.weights.manifest import CheckpointError, Chunk, chunks_from_json, digest_of
from jllm.models.weights.plan import MAX_SHARD_BYTES, FilePlan, plan_files
from jllm.models.weights.write import (
    create_files,
    sync_files,
    write_slices,
)
from jllm.parallel.checkpoint import folder as folders
from jllm.parallel.checkpoint import manifest as manifests
from jllm.parallel.checkpoint import state as states
from jllm.parallel.checkpoint.atomic import sync_directory, write_file
from jllm.parallel.checkpoint.contents import STATE_NAMES, CheckpointContents, Held
from jllm.parallel.checkpoint.group import Group, on_all, on_rank_zero
from jllm.parallel.checkpoint.state import TRAINER


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One set of safetensors files of the checkpoint and this rank's share of it."""

    directory: str
    plan: FilePlan
    held: Held


def save_checkpoint(
    folder: Path,
    contents: CheckpointContents,
    group: Group,
    *,
    keep: int | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> Path:
    """Write the checkpoint `<folder>/<step>` together with all ranks of the group; return its path.

    `keep` is the number of checkpoints to keep, this one included (None: all). Raises
    CheckpointError, the same on every rank, if any rank fails.
    """
    parts = _parts(contents, max_shard_bytes)
    name = on_rank_zero(group, lambda: _begin(folder, contents.step))
    temporary = folder / name
    try:
        first = on_rank_zero(group, lambda: _create(temporary, contents, parts))
        gathered = on_all(group, lambda: _write(temporary, parts))
        chunks = chunks_from_json(row for rows in (first, *gathered) for row in rows)
        on_rank_zero(group, lambda: _finish(folder, temporary, contents, parts, chunks, keep))
    except BaseException:
        if group.rank == 0:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    return folder / str(contents.step)


def _parts(contents: CheckpointContents, max_shard_bytes: int) -> list[_Part]:
    """Plan all files. Pure, the same on every rank but for the shares."""
    assert contents.optimizer.keys() <= set(STATE_NAMES), contents.optimizer.keys()
    assert contents.state is not None or not contents.optimizer
    parts = []
    if weights := contents.weights:
        model = {
            name: (torch.float32 if name in contents.buffers else weights.dtype, shape)
            for name, shape in contents.shapes.items()
        }
        plan = plan_files(model, max_shard_bytes, "model")
        parts.append(_Part(directory="", held=weights, plan=plan))
    if adapter := contents.adapter:
        tensors = {name: (adapter.held.dtype, shape) for name, shape in adapter.shapes.items()}
        plan = plan_files(tensors, sys.maxsize, STEM)  # peft reads a single file
        parts.append(_Part(directory=adapter.directory, held=adapter.held, plan=plan))
    for stem, held in sorted(contents.optimizer.items()):
        tensors = {name: (held.dtype, shape) for name, shape in contents.trained.items()}
        plan = plan_files(tensors, max_shard_bytes, stem)
        parts.append(_Part(directory=TRAINER, held=held, plan=plan))
    return parts


def _begin(folder: Path, step: int) -> str:
    """Clean the folder up and make the directory to write into; return its name."""
    folder.mkdir(parents=True, exist_ok=True)
    folders.clean(folder)
    name = folders.temporary_name("save", step)
    (folder / name).mkdir()
    return name


def _create(
    temporary: Path, contents: CheckpointContents, parts: Sequence[_Part]
) -> list[list[str | int]]:
    """Write the small files, allocate the large ones; return the digests of what is in them."""
    small = dict(contents.files)
    for directory in {part.directory for part in parts} - {""}:
        (temporary / directory).mkdir()
    if contents.state is not None:
        (temporary / TRAINER).mkdir(exist_ok=True)
        small[f"{TRAINER}/{states.NAME}"] = states.encode(contents.state)
    chunks = []
    for part in parts:
        created = create_files(temporary / part.directory, part.plan)
        chunks += _located(part.directory, created)
    for name, data in small.items():
        write_file(temporary / name, data)
        size, digest = len(data), digest_of(data)
        chunks.append(Chunk(file=name, offset=0, length=size, count=1, stride=size, digest=digest))
    sync_files(temporary, (chunk.file for chunk in chunks))
    return manifests.chunks_to_json(chunks)


def _located(directory: str, chunks: Sequence[Chunk]) -> list[Chunk]:
    """Return chunks whose files are named from the checkpoint's top."""
    if not directory:
        return list(chunks)
    return [replace(chunk, file=f"{directory}/{chunk.file}") for chunk in chunks]


def _write(temporary: Path, parts: Sequence[_Part]) -> list[list[str | int]]:
    """Write and sync this rank's slices; return their digests."""
    if not temporary.is_dir():
        raise CheckpointError(
            f"{temporary.parent}: this machine does not see the directory that rank 0 has just made"
            " there; --checkpoint must lie on a file system that all machines share"
        )
    chunks = []
    for part in parts:
        directory, held = temporary / part.directory, part.held
        written = write_slices(directory, part.plan, held.slices, held.tensors)
        chunks += _located(part.directory, written)
    sync_files(temporary, (chunk.file for chunk in chunks))
    return manifests.chunks_to_json(chunks)


def _finish(
    folder: Path,
    temporary: Path,
    contents: CheckpointContents,
    parts: Sequence[_Part],
    chunks: Sequence[Chunk],
    keep: int | None,
) -> None:
    """Write the manifest, make everything durable, publish it and remove the oldest."""
    complete, _ = folders.survey(folder)
    paths = [path for path in temporary.rglob("*") if path.is_file()]
    manifest = manifests.build(
        step=contents.step,
        sequence=1 + max((found.manifest.sequence for found in complete), default=0),
        resumable=contents.state is not None,
        files={str(path.relative_to(temporary)): path.stat().st_size for path in paths},
        chunks=chunks,
    )
    write_file(temporary / MANIFEST, manifests.encode(manifest))
    for directory in {temporary, *(temporary / part.directory for part in parts)}:
        sync_directory(directory)
    folders.publish(folder, temporary, contents.step)
    if keep is not None:
        folders.keep_newest(folder, keep)
