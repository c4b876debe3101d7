"""Row groups of remote parquet files: the bytes of their columns, in few requests.

Only the needed column chunks are requested; adjacent ones are read together, with gaps of up to 64
KiB between them, which cost less than a request. Files written by jllm need one request per row
group. The last footers are kept. Needs memory for the compressed bytes of the row groups being
read, besides their rows.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from jllm.data.format.limits import MAX_LENGTH, check_values
from jllm.data.reading.footer import FooterCache, footer_bytes
from jllm.data.storage.remote_path import RemotePath

_GAP = 64 << 10
_OVERREAD = 100
"""Bytes that Arrow reads after a column chunk of parquet-mr before 1.3 (PARQUET-816)."""


def ranges_of(footer: pq.FileMetaData, row_group: int, columns: Sequence[str]) -> list[range]:
    """Return the byte ranges of `columns` (top-level names) of a row group, joined over gaps."""
    group, found = footer.row_group(row_group), []
    for index in range(group.num_columns):
        chunk = group.column(index)
        if chunk.path_in_schema.partition(".")[0] in columns:
            start = chunk.data_page_offset
            if chunk.has_dictionary_page:
                start = min(start, chunk.dictionary_page_offset)
            found.append(range(start, start + chunk.total_compressed_size + _OVERREAD))
    joined: list[range] = []
    for part in sorted(found, key=lambda part: part.start):
        if joined and part.start <= joined[-1].stop + _GAP:
            joined[-1] = range(joined[-1].start, max(joined[-1].stop, part.stop))
        else:
            joined.append(part)
    return joined


class Pieces(io.RawIOBase):
    """A file of which only some ranges are available; reading others is an error."""

    def __init__(self, size: int, pieces: Sequence[tuple[int, bytes]]) -> None:
        """`pieces`: (offset, bytes) of each range."""
        self._size, self._pieces, self._place = size, pieces, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        """As of any file."""
        return self._place

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes. Raises OSError where some are not available."""
        wanted = self._size - self._place if size < 0 else min(size, self._size - self._place)
        for start, content in self._pieces:
            offset = self._place - start
            if offset >= 0 and offset + wanted <= len(content):
                self._place += wanted
                return content[offset : offset + wanted]
        raise OSError(f"bytes {self._place} to {self._place + wanted} belong to no column here")


class RemoteRowGroups:
    """Reader of remote row groups; keeps the last `files` footers. Safe for many threads."""

    def __init__(self, files: int) -> None:
        """Read nothing yet."""
        self._footers = FooterCache(files)

    def read(
        self,
        path: RemotePath,
        size: int,
        row_group: int,
        columns: Sequence[str],
        max_len: int = MAX_LENGTH,
        check: Callable[[pq.FileMetaData], None] = lambda _: None,
    ) -> pa.Table:
        """Return `columns` of a row group of a file of `size` bytes with rows of at most `max_len`
        ids.

        `check` gets the file's footer when it is read; its errors are passed on. Raises RemoteError
        where the bytes cannot be read, TooLarge for absurd counts, and Arrow's errors or OSError
        where the content makes no sense.
        """
        footer = self._footer(path, size, check)
        if row_group >= footer.num_row_groups:
            raise LookupError(f"has {footer.num_row_groups} row groups")
        check_values(footer, row_group, columns, max_len)
        wanted = (range(r.start, min(r.stop, size)) for r in ranges_of(footer, row_group, columns))
        pieces = [(part.start, path.read(part.start, part.stop)) for part in wanted]
        with pq.ParquetFile(
            Pieces(size, pieces), metadata=footer, page_checksum_verification=True
        ) as file:
            return file.read_row_group(row_group, columns=list(columns), use_threads=False)

    def _footer(
        self, path: RemotePath, size: int, check: Callable[[pq.FileMetaData], None]
    ) -> pq.FileMetaData:
        footer = self._footers.get(path)
        if footer is None:
            footer = pq.read_metadata(pa.BufferReader(footer_bytes(path, size)))
            check(footer)
            self._footers.keep(path, footer)
        return footer
