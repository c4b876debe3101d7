"""Comparing the bytes of a directory with the digests of its manifest.

Costs one pass over the bytes on four threads, at about 1 GB/s a core, and 32 MiB.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jllm.models.weights.manifest import (
    FORMAT,
    NAME,
    CheckpointError,
    Chunk,
    Manifest,
    check_sizes,
    read,
)

PIECE_BYTES = 8 * 2**20
THREADS = 4
_LISTED = 5


def verify_read(directory: Path, rank: int = 0, size: int = 1) -> None:
    """Check what lies in a directory of a model or an adapter, where a manifest speaks of it.

    Sizes are compared, and every `size`-th digest, beginning with number `rank`. A directory
    without a manifest, or with another program's, is not looked at; the folder of an adapter in a
    checkpoint has the checkpoint's.

    Raises CheckpointError that names the files and the ranges of bytes that are not as they were
    written.
    """
    place = directory.absolute()
    for root, before in ((place, ""), (place.parent, f"{place.name}/")):
        manifest = _manifest(root)
        if manifest is None:
            continue
        mine = {
            name: length
            for name, length in manifest.files.items()
            if name.startswith(before) and "/" not in name.removeprefix(before)
        }
        mend = f"if this was done on purpose, remove {root / NAME}"
        try:
            check_sizes(root, mine)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; take another checkpoint, or, {mend}") from None
        chunks = [chunk for chunk in manifest.chunks if chunk.file in mine]
        if damaged := damaged_chunks(root, chunks[rank::size]):
            raise CheckpointError(
                f"{root}: not as it was written: {damaged}; take another checkpoint and check the "
                f"disk, or, {mend}"
            )
        return


def _manifest(directory: Path) -> Manifest | None:
    """Read a directory's manifest; None where there is none of ours."""
    try:
        data = (directory / NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError):
        return None
    ours = FORMAT.encode() in data or (b'"sequence"' in data and b'"chunks"' in data)
    return read(directory) if ours else None


def damaged_chunks(directory: Path, chunks: Sequence[Chunk]) -> str:
    """List the first chunks that do not have their digests; "" where all have."""
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda chunk: _digest(directory, chunk), chunks)
        damaged = [c for c, digest in zip(chunks, found, strict=True) if c.digest != digest]
    listed = ", ".join(str(chunk) for chunk in damaged[:_LISTED])
    return listed + (f" and {len(damaged) - _LISTED} more" if len(damaged) > _LISTED else "")


def _digest(directory: Path, chunk: Chunk) -> str:
    """Return the digest of a chunk's bytes as they are on the disk."""
    state = hashlib.blake2b(digest_size=16)
    with (directory / chunk.file).open("rb", buffering=0) as file:
        for number in range(chunk.count):
            file.seek(chunk.offset + number * chunk.stride)
            left = chunk.length
            while left:
                data = file.read(min(left, PIECE_BYTES))
                if not data:
                    return "cut short"
                state.update(data)
                left -= len(data)
    return state.hexdigest()
