"""The manifest of a checkpoint: which files belong to it, how long they are, digests of all bytes.

A checkpoint is complete when its manifest is there, is intact and agrees with the files' sizes. The
digests find flipped bits (`verify.py`). JSON, about 120 bytes for every 8 MiB of the checkpoint.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from jllm.models.weights.write import Chunk, digest_of
from jllm.parallel.checkpoint.error import CheckpointError

NAME = "manifest.json"
FORMAT = "jllm-checkpoint"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a checkpoint consists of."""

    step: int
    """Optimizer steps done."""
    sequence: int
    """Number of the save in its folder; grows with every save, also when steps are repeated."""
    resumable: bool
    """Whether optimizer states and `state.json` are there, not the model alone."""
    files: Mapping[str, int]
    """Size in bytes of every file, by its path in the checkpoint."""
    chunks: tuple[Chunk, ...]
    """Digests that together cover every byte of every file once."""


def build(
    *, step: int, sequence: int, resumable: bool, files: Mapping[str, int], chunks: Iterable[Chunk]
) -> Manifest:
    """Return the manifest after checking that the chunks hold as many bytes as the files.

    Raises CheckpointError where ranks have left bytes unwritten or written some twice.
    """
    ordered = tuple(sorted(chunks))
    written = dict.fromkeys(files, 0)
    for chunk in ordered:
        written[chunk.file] += chunk.size
    for name, size in files.items():
        if written[name] != size:
            raise CheckpointError(
                f"{name}: the ranks wrote {written[name]} bytes of {size}; the slices of all ranks"
                " together must hold every element exactly once"
            )
    return Manifest(step=step, sequence=sequence, resumable=resumable, files=files, chunks=ordered)


def chunks_to_json(chunks: Iterable[Chunk]) -> list[list[str | int]]:
    """Return chunks as lists of their fields."""
    return [list(astuple(chunk)) for chunk in chunks]


def chunks_from_json(rows: Iterable[Iterable[Any]]) -> tuple[Chunk, ...]:
    """Return chunks from lists of their fields."""
    names = [field.name for field in fields(Chunk)]
    return tuple(Chunk(**dict(zip(names, row, strict=True))) for row in rows)


def encode(manifest: Manifest) -> bytes:
    """Return the contents of the manifest file."""
    content = {
        "format": FORMAT,
        "format_version": VERSION,
        "step": manifest.step,
        "sequence": manifest.sequence,
        "resumable": manifest.resumable,
        "files": dict(sorted(manifest.files.items())),
        "chunks": chunks_to_json(manifest.chunks),
    }
    lines = ",\n".join(f"{json.dumps(key)}:{_compact(value)}" for key, value in content.items())
    return f'{{\n{lines},\n"digest":"{_digest(content)}"\n}}\n'.encode()


def _compact(value: object) -> str:
    """Return JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))


def _digest(content: object) -> str:
    """Return the digest of a manifest's content."""
    return digest_of(_compact(content).encode())


def read(checkpoint: Path) -> Manifest:
    """Read and check the manifest of a checkpoint directory; raise CheckpointError if it is bad."""
    path = checkpoint / NAME
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{checkpoint}: has no {NAME}, so it is not complete") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path}: damaged, it is not JSON") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: is not the manifest of a {FORMAT}")
    if content.pop("digest", None) != _digest(content):
        raise CheckpointError(f"{path}: damaged, its digest is not that of its content")
    if content["format_version"] != VERSION:
        raise CheckpointError(
            f"{path}: has format version {content['format_version']}, this jllm reads {VERSION}:"
            " use the jllm that wrote it, or a newer one"
        )
    return Manifest(
        step=content["step"],
        sequence=content["sequence"],
        resumable=content["resumable"],
        files=content["files"],
        chunks=chunks_from_json(content["chunks"]),
    )


def check_sizes(checkpoint: Path, manifest: Manifest) -> None:
    """Raise CheckpointError for the first file that is missing or has another size."""
    for name, size in manifest.files.items():
        path = checkpoint / name
        try:
            found = path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise CheckpointError(f"{path}: is missing") from None
        if found != size:
            raise CheckpointError(f"{path}: has {found} bytes instead of {size}")
