"""The Spark job, run on real Spark in local mode, gives the rows of `jllm.raw2ids -n`."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convert_helpers import info_of, run_convert, write_jsonl
from jllm.data.convert.spark.config import SparkConfig
from jllm.data.reading.dataset import open_dataset
from jllm.data.reading.reader import LaneReader
from jllm.data.tools.verify.config import VerifyConfig
from jllm.data.tools.verify.verify import verify
from jllm.raw2ids_spark import main
from shuffle_helpers import Quiet
from tokenizer_helpers import save_toy_tokenizer

if shutil.which("java") is None:
    pytest.skip("Spark needs Java 17, and there is no java here", allow_module_level=True)

SIZE = 7
"""Records of a partition."""
TEXTS = [f"{'word ' * (n % 23)}{n}" for n in range(40)]


@pytest.fixture(scope="module")
def spark():
    """Spark that starts fast."""
    from pyspark.sql import SparkSession

    for_workers = {
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    os.environ.update(for_workers)
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.files.openCostInBytes": "0",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    """A folder with a toy tokenizer and a chat template."""
    return save_toy_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def run_spark(
    spark, tokenizer: Path, source: Path, output: Path, block_bytes: int = 1 << 20, **settings: Any
):
    """Run the job in the session of the tests, which reads blocks of `block_bytes`."""
    from jllm.data.convert.spark.job import convert

    spark.conf.set("spark.sql.files.maxPartitionBytes", block_bytes)
    config = SparkConfig(
        tokenizer=str(tokenizer),
        input_path=str(source),
        output_path=str(output),
        **{"num_lines_per_partition": SIZE, "max_seq_length": 33, **settings},
    )
    return convert(spark, config)


def sorted_rows(folder: Path) -> list[str]:
    """Every row of a folder's files as text, sorted."""
    tables = [pq.read_table(file) for file in sorted(folder.glob("*.parquet"))]
    return sorted(json.dumps(row, sort_keys=True) for table in tables for row in table.to_pylist())


def findings(folder: Path) -> list[str]:
    """What `jllm.verify_data` says of a folder."""
    config = VerifyConfig(folder=str(folder), cores=1)
    return verify(config, Quiet()).findings


def compressed(content: bytes, codec: str) -> bytes:
    """One gzip member or zstd frame."""
    target = pa.BufferOutputStream()
    with pa.CompressedOutputStream(target, codec) as stream:
        stream.write(content)
    return target.getvalue().to_pybytes()


def write_texts(folder: Path) -> Path:
    """JSON lines with blank lines among them, text in a folder whose name needs quoting, and both
    compressed, in several members. What is no input lies there too."""
    inner = folder / "in" / "b c%"
    inner.mkdir(parents=True)
    lines = [json.dumps({"text": text}) + "\n" * (1 + n % 3) for n, text in enumerate(TEXTS)]
    (folder / "in" / "a.jsonl").write_text("".join(lines))
    text = "\n\n\n".join(TEXTS) + "\r\n\r\n  \nlast\r\nof all"
    (inner / "d.txt").write_bytes(text.encode())
    for name, codec in (("e.jsonl.gz", "gzip"), ("f.jsonl.zst", "zstd")):
        halves = "".join(lines[:9]), "".join(lines[9:])
        (inner / name).write_bytes(b"".join(compressed(half.encode(), codec) for half in halves))
    (inner / "g.txt.zst").write_bytes(compressed(text.encode(), "zstd"))
    (inner / "h.json").write_text("[]")
    (inner / "_i.txt").write_text("hidden")
    return folder / "in"


@pytest.mark.parametrize("stack", [True, False])
def test_text_gives_the_rows_of_raw2ids(spark, tokenizer, tmp_path, stack):
    source = write_texts(tmp_path)
    settings = {"type": "pretrain", "stack": stack}
    run_convert(
        tokenizer, source, tmp_path / "ref", num_lines_per_partition=SIZE, max_len=33, **settings
    )
    settings |= {"num_partitions": 3, "block_bytes": 300 if stack else 1 << 20}
    run_spark(spark, tokenizer, source, tmp_path / "out", **settings)
    expected = sorted_rows(tmp_path / "ref")
    assert len(expected) > 10
    assert sorted_rows(tmp_path / "out") == expected


def test_chats_give_the_rows_and_the_account_of_raw2ids(spark, tokenizer, tmp_path):
    chats = [[{"user": f"q{n}"}, {"assistant": TEXTS[n]}] for n in range(30)]
    chats[3], chats[11] = [{"user": "nobody answers"}], "no dialogue"
    source = write_jsonl(tmp_path / "data.jsonl", chats)
    settings = {"type": "ft", "on_error": "skip", "filter": True, "pad": True}
    run_convert(
        tokenizer, source, tmp_path / "ref", num_lines_per_partition=SIZE, max_len=160, **settings
    )
    run_spark(spark, tokenizer, source, tmp_path / "out", max_seq_length=160, **settings)
    assert sorted_rows(tmp_path / "out") == sorted_rows(tmp_path / "ref")
    ours = json.loads((tmp_path / "out" / "data_info.json").read_text())
    theirs = info_of(tmp_path / "ref")
    assert list(ours) == list(theirs)
    assert all(ours[key] == theirs[key] for key in ours.keys() - {"info_digest", "files"})
    assert ours["records"]["dropped"]
    columns = [
        [field.remove_metadata() for field in pq.read_schema(next(folder.glob("*.parquet")))]
        for folder in (tmp_path / "out", tmp_path / "ref")
    ]
    assert columns[0] == columns[1]


def test_what_spark_wrote_is_read_like_what_raw2ids_wrote(spark, tokenizer, tmp_path):
    source, output = write_texts(tmp_path), tmp_path / "ids ü [1] %20"
    run_spark(spark, tokenizer, source, output, stack=True)
    dataset = open_dataset(output)
    assert dataset.kind == "pretrain" and dataset.document_end_id is not None
    assert (output / "tokenizer" / "tokenizer.json").is_file()
    rows = [json.loads(row)["input_ids"] for row in sorted_rows(output)]
    with LaneReader(dataset, seed=0, global_batch_size=1, lanes=range(1)) as reader:
        batches = [reader.read(step) for step in range(reader.steps_per_epoch)]
    read = sorted(batch.tokens[0].tolist() for batch in batches)
    assert read == sorted(row[:-1] for row in rows)
    after_end = np.concatenate([batch.targets[batch.tokens == dataset.document_end_id]
                                for batch in batches])  # fmt: skip
    assert (after_end == -100).all()


def test_what_spark_wrote_is_checked_by_digests(spark, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("jllm.data.writing.row_writer.GROUP_ROWS", 3)
    monkeypatch.setattr("jllm.data.convert.spark.parquet_output.FILE_ROWS", 7)
    source = write_texts(tmp_path)
    rows = run_spark(spark, tokenizer, source, tmp_path / "out", num_partitions=1).rows
    listed = json.loads((tmp_path / "out" / "data_info.json").read_text())["files"]
    groups = [[group["num_samples"] for group in file["row_groups"]] for file in listed]
    assert groups[:-1] == [[3, 3]] * (len(groups) - 1) and sum(map(sum, groups)) == rows > 12
    assert findings(tmp_path / "out") == []
    first = tmp_path / "out" / listed[0]["name"]
    content = bytearray(first.read_bytes())
    content[200] ^= 1
    first.write_bytes(content)
    assert any(f"{first}: its digest is" in one for one in findings(tmp_path / "out"))
    table = pq.read_table(tmp_path / "out" / listed[1]["name"]).take([1, 0, *range(2, 6)])
    pq.write_table(table, tmp_path / "out" / listed[1]["name"], row_group_size=3)
    with (
        LaneReader(
            open_dataset(tmp_path / "out"), seed=0, global_batch_size=1, lanes=range(1)
        ) as reader,
        pytest.raises(ValueError, match="row group 0: .*(digest is|cannot be read)"),
    ):
        for step in range(rows):
            reader.read(step)


def test_rows_that_spark_loses_are_missed(spark, tokenizer, tmp_path, monkeypatch):
    from jllm.data.convert.spark import job

    write = job.write_rows
    monkeypatch.setattr(job, "write_rows", lambda rows, *rest: write(rows.limit(3), *rest))
    with pytest.raises(OSError, match="the 3 rows that lie there are not the"):
        run_spark(spark, tokenizer, write_texts(tmp_path), tmp_path / "out", num_partitions=1)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_bad_record_stops_the_job_with_its_line(spark, tokenizer, tmp_path):
    lines = [json.dumps({"text": text}) for text in TEXTS]
    (tmp_path / "data.jsonl").write_text("\n".join([*lines[:29], "{", *lines[29:]]))
    with pytest.raises(ValueError, match=r"data\.jsonl:30: malformed JSON"):
        run_spark(spark, tokenizer, tmp_path / "data.jsonl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_compressed_input_that_is_cut_short_stops_the_job(spark, tokenizer, tmp_path, codec):
    content = "".join(json.dumps({"text": f"{n**9}"}) + "\n" for n in range(3000)).encode()
    name = {"gzip": "data.jsonl.gz", "zstd": "data.jsonl.zst"}[codec]
    (tmp_path / name).write_bytes(compressed(content, codec)[:-100])
    with pytest.raises(OSError, match=rf"^Spark: .*reading file file://{tmp_path}/{name}"):
        run_spark(spark, tokenizer, tmp_path / name, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_output_is_replaced_only_if_asked_and_only_if_it_is_ours(spark, tokenizer, tmp_path):
    (tmp_path / "d[1]").mkdir()  # no pattern: the folder is called so
    source = write_jsonl(tmp_path / "d[1]" / "data.jsonl", [{"text": "a b"}]).parent
    run_spark(spark, tokenizer, source, tmp_path / "out")
    with pytest.raises(ValueError, match="--clean"):
        run_spark(spark, tokenizer, source, tmp_path / "out")
    assert run_spark(spark, tokenizer, source, tmp_path / "out", clean=True).rows == 1
    assert len(open_dataset(tmp_path / "out").row_groups) == 1
    (tmp_path / "out" / "notes.md").write_text("mine")
    with pytest.raises(ValueError, match=r"notes\.md"):
        run_spark(spark, tokenizer, source, tmp_path / "out", clean=True)
    with pytest.raises(ValueError, match="lies in --input_path"):
        run_spark(spark, tokenizer, source, source / "ids")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d[1]", "out"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--num_partitions", "0"], "--num_partitions 0"),
        (["--type", "ft", "--stack"], "--stack"),
        (["--max_seq_length", "1"], "--max_seq_length 1"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_before_spark_starts(capsys, flags, said):
    given = ["--tokenizer", "t", "--input_path", "i", "--output_path", "o", *flags]
    assert main(given) == 2
    assert said in capsys.readouterr().err


JAVA = """An error occurred while calling o47.exists.
: {0}
\tat org.apache.hadoop.fs.FileSystem.get(FileSystem.java:558)
Caused by: java.io.IOException: Truncated source
\tat java.base/java.lang.Thread.run(Thread.java:840)
"""
PYTHON = """An exception was thrown from the Python worker:
Traceback (most recent call last):
  File "x.py", line 9, in bad
{0}
"""


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (JAVA.format('org.apache.hadoop.fs.UnsupportedException: No FileSystem for scheme "x"'),
         OSError, 'Spark: No FileSystem for scheme "x" (Truncated source)'),
        (JAVA.format("org.apache.spark.SparkException: [FAILED.X] a.zst, Truncated source"),
         OSError, "Spark: a.zst, Truncated source"),
        (PYTHON.format("jllm.data.convert.count_records.BadRecord: a:3: malformed JSON"),
         ValueError, "a:3: malformed JSON"),
        (PYTHON.format("MemoryError: of 3 GB"), ValueError, "MemoryError: of 3 GB"),
        ("[JAVA_GATEWAY_EXITED] Java gateway process exited",
         ValueError, "Spark does not start; it needs Java 17, on PATH or at JAVA_HOME"),
    ],
)  # fmt: skip
def test_what_failed_in_spark_is_said_in_a_line(text, kind, said):
    from jllm.data.convert.spark.errors import explanation

    error = explanation(text)
    assert isinstance(error, kind) and str(error) == said
