"""The origin of rows: the provenance columns, which training does not read."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from jllm.data.format.schema import PROVENANCE, RECORDS, SOURCE, nullable_type
from jllm.data.reading.dataset import Dataset, RowGroup
from jllm.data.reading.remote_row_groups import RemoteRowGroups
from jllm.data.reading.row_decoder import Ragged, ragged
from jllm.data.reading.row_groups import KEPT_FOOTERS
from jllm.data.storage.remote_path import RemotePath

TYPES = {SOURCE: pa.string(), RECORDS: pa.list_(pa.int64())}


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The origin of the rows of one row group."""

    where: str
    """File and row group, for messages."""
    source: list[str]
    """The input file's name for each row."""
    records: Ragged
    """For each row, the record of each of its documents; −1 for closing ones."""

    def of_row(self, row: int, documents: int) -> list[int | None]:
        """Return the records of a row's documents, None for closing ones."""
        records = self.records.row(row).tolist()
        if len(records) != documents:
            raise ValueError(
                f"{self.where}, row {row}: {RECORDS} has {len(records)} entries for "
                f"{documents} documents: convert again"
            )
        return [None if record < 0 else record for record in records]


class Origins:
    """Reader of the provenance of a data set's row groups; thread-safe."""

    def __init__(self, dataset: Dataset) -> None:
        """Keep the data set; read nothing yet."""
        self._groups, self._remote = dataset.row_groups, RemoteRowGroups(KEPT_FOOTERS)

    def read(self, number: int) -> Provenance | None:
        """Return the origin of a row group's rows; None if the file does not state it.

        Columns with these names but other types are not provenance. Raises ValueError for damaged
        columns.
        """
        group = self._groups[number]
        where = f"{group.file}, row group {group.index}"
        try:
            table = self._table(group)
        except pa.ArrowException as error:
            raise ValueError(f"{where}: {SOURCE}, {RECORDS}: cannot be read ({error})") from error
        if {one.name: nullable_type(one.type) for one in table.schema} != TYPES:
            return None
        if table[SOURCE].null_count or table[RECORDS].null_count:
            raise ValueError(f"{where}: {SOURCE} or {RECORDS} is null in a row: convert again")
        return Provenance(
            where=where,
            source=table[SOURCE].to_pylist(),
            records=ragged(table[RECORDS], where),
        )

    def _table(self, group: RowGroup) -> pa.Table:
        if isinstance(group.file, RemotePath):
            assert group.stamp is not None
            return self._remote.read(group.file, group.stamp.size, group.index, PROVENANCE)
        with pq.ParquetFile(group.file) as file:
            return file.read_row_group(group.index, columns=list(PROVENANCE), use_threads=False)
