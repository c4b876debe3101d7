"""Disk space: checked before a command starts, and reported when it runs out anyway."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def naming_a_full_disk(output: Path) -> Iterator[None]:
    """Make the error of a full disk, within the context, name --output and the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        what = f"--output {output}: {os.strerror(error.errno)}; make room or give another --output"
        raise OSError(error.errno, what) from error


def check_room(output: Path, needed: int) -> None:
    """Raise ValueError where the disk of `output` (which need not exist) lacks `needed` bytes."""
    folder = output.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ValueError(
            f"--output {output}: needs about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
            "make room or give another --output"
        )
