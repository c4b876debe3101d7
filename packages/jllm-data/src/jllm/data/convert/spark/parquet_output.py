"""Write the parquet files of a Spark job in small row groups, read them back, and describe them.

Only Spark reaches the file system that it writes to, so each file is read back into a task as one
binary value, for the digests of its bytes and row groups (for the info file) and the multiset of
its rows, which must equal that of the converted rows. Such a task holds several copies of a file's
bytes (Spark's row, which grows by doubling, Arrow's batch, Python's), so files are kept small.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from jllm.data.convert.spark.hadoop_path import HadoopPath
from jllm.data.format.digests import bytes_digest, row_group_digest
from jllm.data.format.info import FileInfo, RowGroupInfo, file_info
from jllm.data.format.row_multiset import RowMultiset, multiset_of
from jllm.data.format.schema import FileMetadata, arrow_schema, fields_of
from jllm.data.writing.row_writer import rows_a_group

FILE_ROWS, FILE_IDS = 1 << 16, 1 << 24
ROW_GROUP_BYTES = 64 << 20
"""More than any row group takes, so that only the number of rows ends a row group."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """The parquet files of a folder."""

    files: tuple[FileInfo, ...]
    """Sorted by name."""
    bag: RowMultiset
    """Of the rows of all files."""


def write_rows(
    rows: DataFrame, folder: HadoopPath, metadata: FileMetadata, compression: str
) -> None:
    """Write all columns of `rows` to a folder, in the row groups that `jllm.raw2ids` writes."""
    group = rows_a_group(metadata.max_len)
    groups = max(1, min(FILE_ROWS, FILE_IDS // metadata.max_len) // group)
    options = {
        "compression": compression,
        "maxRecordsPerFile": groups * group,
        "parquet.block.row.count.limit": group,
        "parquet.block.size": ROW_GROUP_BYTES,
        "parquet.enable.dictionary": "false",
    }
    rows.write.mode("overwrite").options(**options).parquet(folder.plain)


def read_back(spark: SparkSession, folder: HadoopPath, metadata: FileMetadata) -> Written:
    """Describe the parquet files of a folder."""
    files = spark.read.format("binaryFile").option("pathGlobFilter", "*.parquet")
    content = files.load(folder.literal).select("path", "content")

    def describe(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for path, value in zip(batch["path"], batch["content"], strict=True):
                name = path.as_py().rpartition("/")[2]
                found = _description(name, value.as_buffer(), metadata)
                yield pa.RecordBatch.from_pylist([{"found": json.dumps(found)}])

    found = [json.loads(row[0]) for row in content.mapInArrow(describe, "found string").collect()]
    files = sorted((file_info(one["file"]) for one in found), key=lambda file: file.name)
    bag = sum((RowMultiset(**one["bag"]) for one in found), RowMultiset())
    return Written(files=tuple(files), bag=bag)


def _description(name: str, content: pa.Buffer, metadata: FileMetadata) -> Mapping[str, Any]:
    """Return the FileInfo of a file's bytes and the multiset of its rows, as plain values."""
    fields = fields_of(metadata.kind)
    columns = arrow_schema(metadata).names
    groups, bag = [], RowMultiset()
    with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number, columns=columns, use_threads=False)
            digest = row_group_digest({column: table[column] for column in fields})
            groups.append(RowGroupInfo(num_samples=len(table), digest=digest))
            bag = sum(map(multiset_of, table.select(columns).to_batches()), bag)
    info = FileInfo(
        name=name, bytes=content.size, digest=bytes_digest(content), row_groups=tuple(groups)
    )
    return {"file": asdict(info), "bag": asdict(bag)}
