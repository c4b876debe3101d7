"""Run the conversion as a Spark job: read, number, shuffle, write. Only this module uses pyspark.

The text is read twice. The first pass counts the lines and records of each block that Spark reads.
The second numbers every line, sends the lines of one partition of a file to one task, sorts them,
and converts. So the rows do not depend on how Spark cuts the input, or on the number of tasks. The
rows stay on the executors' disks until all record counts are known; then they are written and read
back.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark import SparkFiles, StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from jllm.data.convert.config import Raw2IdsConfig
from jllm.data.convert.count_records import no_records_error
from jllm.data.convert.setup import prepare_work
from jllm.data.convert.spark.config import SparkConfig, conversion
from jllm.data.convert.spark.convert_partition import ACCOUNT, Line, converter_of, row_schema
from jllm.data.convert.spark.errors import explained
from jllm.data.convert.spark.hadoop_path import HadoopPath
from jllm.data.convert.spark.line_numbers import Before, Summary, follow, number_lines, summarise
from jllm.data.convert.spark.parquet_output import read_back, write_rows
from jllm.data.convert.spark.partition_counts import add_up
from jllm.data.format.file_names import TOKENIZER_FOLDER
from jllm.data.format.info import info_text
from jllm.data.format.record_counts import RecordCounts
from jllm.data.format.schema import FileMetadata
from jllm.data.records.input_files import layout_of, name_pattern
from jllm.data.tokenizer.bundle import keep_tokenizer
from jllm.data.tokenizer.load import load_tokenizer

BATCH_BYTES = 4 << 20
OURS = re.compile(r"\.?(part-.*\.parquet|_SUCCESS|data_info\.json)(\.crc)?|tokenizer")
"""File names that this command writes to the output folder."""
Block = tuple[str, int]
"""A file's name below the input, and the byte offset at which Spark's block of it begins."""


@dataclass(frozen=True, kw_only=True)
class SparkConversion:
    """The result of a conversion."""

    rows: int
    account: RecordCounts


@explained()
def convert(spark: SparkSession, config: SparkConfig) -> SparkConversion:
    """Convert `config.input_path`; the output folder is created or replaced when all is written.

    Raises ValueError for what the user can mend, OSError for a failure in Spark.
    """
    settings = conversion(config)
    tokenizer = load_tokenizer(settings.tokenizer)
    _, metadata = prepare_work(settings, settings.kind, tokenizer, lambda _: None)
    target = HadoopPath(spark, config.output_path)
    _refuse_to_replace(target, config)
    if target.lies_in(HadoopPath(spark, config.input_path)):
        raise ValueError(f"--output_path {config.output_path}: lies in --input_path")
    writing = HadoopPath(spark, f"{target.plain}.jllm-writing")
    with tempfile.TemporaryDirectory() as folder, _removed_on_error(spark, writing):
        keep_tokenizer(tokenizer, Path(folder))
        kept = Path(folder, TOKENIZER_FOLDER)
        spark.sparkContext.addFile(str(kept), recursive=True)
        lines, partitions = _lines(spark, config, chats=settings.kind != "pretrain")
        tasks = config.num_partitions or min(partitions, _tasks(spark))
        rows = _converted(lines, settings, metadata, tasks).persist(StorageLevel.DISK_ONLY)
        try:
            texts = rows.where(F.col(ACCOUNT).isNotNull()).select(ACCOUNT).collect()
            made = add_up(row[0] for row in texts)
            if not made.bag.rows:
                raise no_records_error(config.input_path, [made.account])
            data = rows.where(F.col(ACCOUNT).isNull()).drop(ACCOUNT)
            write_rows(data, writing, metadata, config.compress)
            written = read_back(spark, writing, metadata)
        finally:
            rows.unpersist()
        if written.bag != made.bag:
            raise OSError(
                f"{writing.qualified}: the {written.bag.rows:,} rows that lie there are not the "
                f"{made.bag.rows:,} that were converted: Spark or a disk lost or changed some; "
                "nothing is published, convert again"
            )
        info = Path(folder, "data_info.json")
        text = info_text(metadata, written.files, made.account, made.max_num_blocks)
        info.write_text(text, encoding="utf-8")
        writing.put(kept)
        writing.put(info)
    writing.rename(target)
    return SparkConversion(rows=made.bag.rows, account=made.account)


@contextlib.contextmanager
def _removed_on_error(spark: SparkSession, folder: HadoopPath) -> Iterator[None]:
    """Cancel the job's tasks after an error, and remove what they wrote."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Py4JError):  # report the original error, not this one
            spark.sparkContext.cancelAllJobs()
            folder.remove()
        raise


def _refuse_to_replace(target: HadoopPath, config: SparkConfig) -> None:
    """Raise ValueError unless --clean is given and the folder holds only this command's output."""
    if not target.exists():
        return
    if not config.clean:
        raise ValueError(
            f"--output_path {config.output_path}: is there already; give another, or --clean"
        )
    names = target.names()
    if foreign := [name for name in names if not OURS.fullmatch(name)]:
        raise ValueError(
            f"--output_path {config.output_path}: --clean replaces what Spark and jllm wrote, but "
            f"{', '.join(foreign[:3])} there is none of it; give another folder"
        )


def _tasks(spark: SparkSession) -> int:
    return int(spark.conf.get("spark.sql.shuffle.partitions") or 200)


def _lines(spark: SparkSession, config: SparkConfig, *, chats: bool) -> tuple[DataFrame, int]:
    """Return all lines of the input (source, record, number, text), and the number of their
    partitions.
    """
    root = HadoopPath(spark, config.input_path)
    if not root.exists():
        raise ValueError(f"--input_path {config.input_path}: no such file or folder")
    reader = spark.read.option("lineSep", "\n").option("recursiveFileLookup", "true")
    wanted = name_pattern(chats=chats)
    if root.is_folder():
        reader = reader.option("pathGlobFilter", wanted)
    else:
        layout_of(root.name, chats=chats)
    read = reader.text(root.literal).select(
        F.col("value").cast("binary").alias("text"),
        F.col("_metadata.file_path").alias("file"),
        F.col("_metadata.file_block_start").alias("start"),
    )
    prefix = root.qualified

    def blocks(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[Block, Iterator[bytes]]]:
        rows = itertools.chain.from_iterable(
            zip(
                *(batch.column(name).to_pylist() for name in ("file", "start", "text")), strict=True
            )
            for batch in batches
        )
        for (file, start), group in itertools.groupby(rows, lambda row: (row[0], row[1])):
            yield (_relative(file, prefix), start), (row[2] for row in group)

    def summaries(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for (name, start), texts in blocks(batches):
            found = asdict(summarise(texts, layout_of(name, chats=chats)))
            yield pa.RecordBatch.from_pylist(
                [{"source": name, "start": start, "summary": json.dumps(found)}]
            )

    found = read.mapInArrow(summaries, "source string, start long, summary string").collect()
    if not found:
        raise ValueError(f"--input_path {config.input_path}: holds no text in a file {wanted}")
    before: dict[Block, Before] = {}
    partitions = 0
    ordered = sorted((row["source"], row["start"], row["summary"]) for row in found)
    for name, group in itertools.groupby(ordered, lambda row: row[0]):
        state = Before()
        for _, start, summary in group:
            before[name, start] = state
            state = follow(state, Summary(**json.loads(summary)))
        partitions += state.records // config.num_lines_per_partition + 1

    def numbered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for (name, start), texts in blocks(batches):
            held, size = list[Line](), 0
            kept, read_ = itertools.tee(texts)
            numbers = number_lines(read_, layout_of(name, chats=chats), before[name, start])
            for (number, record), text in zip(numbers, kept, strict=True):
                held.append(Line(source=name, record=record, number=number, text=text))
                size += len(text)
                if size >= BATCH_BYTES:
                    yield _line_batch(held)
                    held, size = [], 0
            if held:
                yield _line_batch(held)

    columns = "source string, record long, number long, text binary"
    return read.mapInArrow(numbered, columns), partitions


def _converted(
    lines: DataFrame, settings: Raw2IdsConfig, metadata: FileMetadata, tasks: int
) -> DataFrame:
    """Return the rows, and for each partition its record counts."""
    size = settings.num_lines_per_partition
    partition = F.expr(f"record div {size}")
    sorted_lines = lines.repartition(tasks, "source", partition)
    sorted_lines = sorted_lines.sortWithinPartitions("source", "number")

    def convert_lines(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        first = next(batches, None)
        if first is None:
            return
        converter = converter_of(replace(settings, tokenizer=SparkFiles.get(TOKENIZER_FOLDER)))
        columns = ("source", "record", "number", "text")
        yield from converter.convert(
            Line(*row)
            for batch in itertools.chain([first], batches)
            for row in zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
        )

    return sorted_lines.mapInArrow(convert_lines, from_arrow_schema(row_schema(metadata)))


def _line_batch(lines: list[Line]) -> pa.RecordBatch:
    names = ["source", "record", "number", "text"]
    types = [pa.string(), pa.int64(), pa.int64(), pa.binary()]
    columns = zip(*lines, strict=True)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _relative(file: str, root: str) -> str:
    """Return a file's name below the input; for a single file its own name."""
    path, folder = PurePosixPath(unquote(file)), PurePosixPath(unquote(root))
    return path.name if path == folder else path.relative_to(folder).as_posix()
