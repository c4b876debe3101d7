"""Reading single row groups from many parquet files; every row group is checked.

Files are read, not mapped: a file that is cut short during a run gives an error, not a SIGBUS. A
footer must be the same as when the data set was opened, or as the info file stated then. A row
group is checked against its digest and, where the writer stored page checksums, against these.
Where no digest is known, the file's size and modification time must be the same as when the data
set was opened. Only a few parsed footers are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jllm.data.format.digests import row_group_digest
from jllm.data.format.limits import TooLarge, check_values
from jllm.data.format.schema import LABELS
from jllm.data.reading.dataset import Dataset, RowGroup
from jllm.data.reading.footer import FooterCache, footer_of
from jllm.data.reading.remote_row_groups import RemoteRowGroups
from jllm.data.reading.row_decoder import Ragged, TrainingRows, check_numbers, decode_rows, ragged
from jllm.data.storage.paths import stamp
from jllm.data.storage.remote_path import RemotePath
from jllm.data.storage.retries import RemoteError

KEPT_FOOTERS = 32
"""The most parsed footers that are kept."""


class RowGroupFiles:
    """Reader and decoder of a data set's row groups, by number. Safe for several threads."""

    def __init__(self, dataset: Dataset) -> None:
        """Read nothing yet."""
        self._dataset = dataset
        self._footers = FooterCache(KEPT_FOOTERS)
        self._remote = RemoteRowGroups(KEPT_FOOTERS)

    def read(self, number: int) -> TrainingRows:
        """Read, check and decode `dataset.row_groups[number]`.

        Raises ValueError, with file and row group, where the file is missing, damaged or not the
        one that was opened, or its rows are malformed; RemoteError where it cannot be reached.
        """
        group = self._dataset.row_groups[number]
        where = f"{group.file}, row group {group.index}"
        try:
            return self._read(group, where)
        except MemoryError as error:
            raise ValueError(
                f"{where}: there is no memory for it ({error}); a reader holds a row group a lane: "
                "take more readers, a smaller global batch or smaller row groups"
            ) from error

    def read_numbers(self, number: int) -> np.ndarray:
        """Return the numbers of a row group's RL prompts, int32 [rows], without a digest check.

        Raises ValueError and RemoteError as `read` does.
        """
        group = self._dataset.row_groups[number]
        where = f"{group.file}, row group {group.index}"
        labels = ragged(self._columns(group, (LABELS,), where)[LABELS], f"{where}, {LABELS}")
        check_numbers(labels, where)
        return labels.values

    def read_lists(self, number: int, names: Sequence[str]) -> dict[str, Ragged]:
        """Return some columns of a row group for inspection; neither digest nor form is checked.

        Raises ValueError and RemoteError as `read` does.
        """
        group = self._dataset.row_groups[number]
        where = f"{group.file}, row group {group.index}"
        columns = self._columns(group, names, where)
        return {name: ragged(column, f"{where}, {name}") for name, column in columns.items()}

    def close(self) -> None:
        """Drop the footers."""
        self._footers.clear()

    def _read(self, group: RowGroup, where: str) -> TrainingRows:
        columns = self._columns(group, self._dataset.fields, where)
        if group.digest is None:
            _check_stamp(group, where)
        else:
            _check_digest(columns, group.digest, where)
        return decode_rows(
            columns,
            max_len=self._dataset.max_len,
            document_end_id=self._dataset.document_end_id,
            where=where,
            prompts=self._dataset.kind == "rl",
        )

    def _columns(
        self, group: RowGroup, names: Sequence[str], where: str
    ) -> dict[str, pa.ChunkedArray]:
        """Return the columns as stored; the number of rows is checked."""
        try:
            table = self._table(group, names)
            columns = {name: table.column(name) for name in names}
        except RemoteError as error:
            raise RemoteError(f"{where}: {error}") from error
        except MemoryError:  # the only one of Arrow's errors that is not the file's fault
            raise
        except TooLarge as error:
            raise ValueError(f"{where}: {error}; it is damaged, or not meant to be read") from error
        except (OSError, LookupError, pa.ArrowException) as error:
            raise ValueError(
                f"{where}: cannot be read ({error}); the file is damaged or was changed: copy it "
                "or convert it again"
            ) from error
        if table.num_rows != group.rows:
            raise ValueError(
                f"{where}: has {table.num_rows} rows, had {group.rows} when the data set was "
                "opened: files must not change while they are read"
            )
        return columns

    def _table(self, group: RowGroup, names: Sequence[str]) -> pa.Table:
        columns, max_len = list(names), self._dataset.max_len
        if isinstance(group.file, RemotePath):
            assert group.stamp is not None
            size = group.stamp.size
            check = partial(self._check_footer, group)
            return self._remote.read(group.file, size, group.index, columns, max_len, check)
        with self._open(group) as file:
            check_values(file.metadata, group.index, columns, max_len)
            return file.read_row_group(group.index, columns=columns, use_threads=False)

    def _open(self, group: RowGroup) -> pq.ParquetFile:
        """Open the file for one read, so that threads do not wait for each other."""
        path = group.file
        footer = self._footers.get(path)
        file = pq.ParquetFile(path, metadata=footer, page_checksum_verification=True)
        if footer is None:
            self._check_footer(group, file.metadata)
            self._footers.keep(path, file.metadata)
        return file

    def _check_footer(self, group: RowGroup, footer: pq.FileMetaData) -> None:
        if what := self._dataset.difference(footer_of(group.file, group.stamp, footer)):
            raise ValueError(
                f"{group.file}, row group {group.index}: {what}; the file was changed, or its "
                "info file is of another conversion: copy it or convert it again"
            )


def _check_stamp(group: RowGroup, where: str) -> None:
    """Compare the file's stamp; called after reading, so that changes meanwhile are noticed."""
    found = stamp(group.file)
    if group.stamp is not None and found != group.stamp:
        raise ValueError(
            f"{where}: the file has {found.size:,} bytes (version {found.version}), had "
            f"{group.stamp.size:,} ({group.stamp.version}) when the data set was opened: files "
            "must not change while they are read"
        )


def _check_digest(columns: Mapping[str, pa.ChunkedArray], expected: str, where: str) -> None:
    try:
        found = row_group_digest(columns)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if found != expected:
        raise ValueError(
            f"{where}: digest is {found}, the info file states {expected}: the file is damaged or "
            "was changed; copy it or convert it again"
        )
