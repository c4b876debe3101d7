"""The manifest of a checkpoint: which files belong to it, how long they are, digests of all bytes.

A checkpoint is complete when its manifest is there, is intact and agrees with the files' sizes. The
digests find flipped bits (`verify.py`). JSON, about 120 bytes for every 8 MiB of the checkpoint.
Written by `jllm.parallel.checkpoint`; read here, without PyTorch, by all that read a model.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

NAME = "manifest.json"
FORMAT = "jllm-checkpoint"
VERSION = 1


class CheckpointError(ValueError):
    """A checkpoint cannot be written, found or trusted; says which one, why and the mend."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Chunk:
    """Bytes of a file with their digest: `count` runs of `length` bytes, `stride` apart."""

    file: str
    offset: int
    length: int
    count: int
    stride: int
    digest: str

    @property
    def size(self) -> int:
        """Number of bytes digested."""
        return self.length * self.count

    def __str__(self) -> str:
        """Name the file and the range of bytes, for messages."""
        end = self.offset + (self.count - 1) * self.stride + self.length
        return f"{self.file} bytes {self.offset} to {end}"


def digest_of(*parts: bytes | memoryview) -> str:
    """Return the 16-byte BLAKE2b digest of the parts as hex."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        state.update(part)
    return state.hexdigest()


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


def chunks_from_json(rows: Iterable[Iterable[Any]]) -> tuple[Chunk, ...]:
    """Return chunks from lists of their fields."""
    names = [field.name for field in fields(Chunk)]
    return tuple(Chunk(**dict(zip(names, row, strict=True))) for row in rows)


def compact(value: object) -> str:
    """Return JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))


def content_digest(content: object) -> str:
    """Return the digest of a manifest's content."""
    return digest_of(compact(content).encode())


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
    if content.pop("digest", None) != content_digest(content):
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


def check_sizes(checkpoint: Path, files: Mapping[str, int]) -> None:
    """Raise CheckpointError for the first file that is missing or has another size."""
    for name, size in files.items():
        path = checkpoint / name
        try:
            found = path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise CheckpointError(f"{path}: is missing") from None
        if found != size:
            raise CheckpointError(f"{path}: has {found} bytes instead of {size}")
