"""Comparing a checkpoint's bytes with the digests of its manifest; each rank checks its share."""

from jllm.models.weights.manifest import CheckpointError
from jllm.models.weights.verify import damaged_chunks
from jllm.parallel.checkpoint.folder import Checkpoint


def verify(checkpoint: Checkpoint, rank: int = 0, size: int = 1) -> None:
    """Check every `size`-th digest of a checkpoint, beginning with number `rank`.

    Raises CheckpointError that names the files and the ranges of bytes that are damaged.
    """
    if damaged := damaged_chunks(checkpoint.path, checkpoint.manifest.chunks[rank::size]):
        raise CheckpointError(
            f"{checkpoint.path}: damaged on the disk: {damaged}; resume another --tag, and check "
            "the disk"
        )
