"""Making and writing the manifest of a checkpoint (`jllm.models.weights.manifest` reads it)."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple

from jllm.models.weights.manifest import (
    FORMAT,
    VERSION,
    CheckpointError,
    Chunk,
    Manifest,
    compact,
    content_digest,
)


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
    lines = ",\n".join(f"{json.dumps(key)}:{compact(value)}" for key, value in content.items())
    return f'{{\n{lines},\n"digest":"{content_digest(content)}"\n}}\n'.encode()
