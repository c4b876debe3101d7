"""Read one input file as a stream of bytes, decompressed if needed.

Consecutive gzip members or zstd frames form one stream. Memory is a few small buffers, whatever the
decompressed size; a frame that needs a window of more than 128 MiB is refused.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from jllm.data.records.input_files import STDIN, Source

if TYPE_CHECKING:
    import pyarrow as pa


class SourceStream:
    """Sequential reader of a source's bytes."""

    def __init__(self, source: Source, raw: BinaryIO) -> None:
        self._source, self._counted = source, _Counted(raw)
        self._bytes: _Counted | pa.CompressedInputStream = self._counted
        if source.codec is not None:
            import pyarrow as pa  # imported here to keep a command's --help fast

            file = pa.PythonFile(self._counted, mode="r")
            self._bytes = pa.CompressedInputStream(file, source.codec)

    @property
    def taken(self) -> int:
        """Bytes read from the file on disk (compressed)."""
        return self._counted.count

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes; fewer only at the end.

        Raises ValueError where compressed data is truncated or damaged.
        """
        parts = []
        while count and (part := self._read(count)):
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _read(self, count: int) -> bytes:
        try:
            return self._bytes.read(count)
        except OSError as error:
            if error.errno is not None or self._source.codec is None:
                raise
            raise ValueError(
                f"{self._source.path}: no whole {self._source.codec} file: {error}, in its first "
                f"{self.taken} bytes; copy it again, or compress it anew"
            ) from error


@contextlib.contextmanager
def open_stream(source: Source) -> Iterator[SourceStream]:
    """Yield the stream of a source from its start (standard input: from its current position)."""
    descriptor = os.dup(0) if source.path == STDIN else os.open(source.path, os.O_RDONLY)
    with open(descriptor, "rb", buffering=0) as raw:
        yield SourceStream(source, raw)


class _Counted:
    """The file interface that Arrow needs, counting the bytes read."""

    closed = False

    def __init__(self, raw: BinaryIO) -> None:
        self._raw, self.count = raw, 0

    def read(self, count: int) -> bytes:
        part = self._raw.read(count)
        self.count += len(part)
        return part

    def close(self) -> None:
        """Do nothing: `open_stream` owns the file and closes it."""
