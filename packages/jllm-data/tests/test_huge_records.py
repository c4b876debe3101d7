"""Lines and archives of a gigabyte, JSON a million deep: refused in little memory."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

from convert_helpers import info_of, rows_of, run_convert, write_jsonl
from jllm.data.records.input_files import find_sources
from jllm.data.records.splits import cut_splits
from memory_limit_helpers import error_under_limit
from tokenizer_helpers import save_toy_tokenizer

LIMIT = 256 << 20
GOOD = b'{"text": "good"}\n'


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With everything imported that a conversion needs, so that a fork need not map it."""
    folder = tmp_path_factory.mktemp("all")
    save_toy_tokenizer(folder / "tokenizer")
    values = [[{"user": "a"}, {"assistant": "b"}]]
    run_convert(
        folder / "tokenizer", write_jsonl(folder / "a.jsonl", values), folder / "out", max_len=99
    )
    return folder / "tokenizer"


def sparse(path: Path, size: int, before: bytes, after: bytes = b"") -> Path:
    """A file of `size` zero bytes between two texts, which takes no room."""
    path.write_bytes(before)
    os.truncate(path, len(before) + size)
    with path.open("ab") as file:
        file.write(after)
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".txt"])
def test_a_record_of_a_gigabyte_stops_the_conversion_after_the_limit_is_read(
    tmp_path: Path, tokenizer: Path, suffix: str
) -> None:
    before = GOOD if suffix == ".jsonl" else b"good\n\n"
    source = sparse(tmp_path / f"data{suffix}", 1 << 30, before)
    said = error_under_limit(
        LIMIT, lambda: run_convert(tokenizer, source, tmp_path / "out", type="pretrain")
    )
    line = before.count(b"\n") + 1
    assert said.startswith(f"BadRecord: {source}:{line}: too many bytes: the record has more than")
    (found,), _ = find_sources(source, chats=False)
    read = 0
    for unit in cut_splits(found, max_lines=100, max_record_bytes=5 << 20):
        read += unit.taken
        if unit.too_long:
            break
    assert read <= len(before) + (5 << 20) + 8


@pytest.mark.parametrize("suffix", [".jsonl", ".txt"])
def test_skipped_it_is_one_record_and_those_behind_it_are_read(
    tmp_path: Path, tokenizer: Path, suffix: str
) -> None:
    good, end = (GOOD, b"\n") if suffix == ".jsonl" else (b"good\n\n", b"\n\n")
    source = sparse(tmp_path / f"data{suffix}", 100 << 20, good, end + good)
    settings = {"type": "pretrain", "on_error": "skip", "max_record_bytes": 1 << 20}
    said = error_under_limit(
        LIMIT, lambda: len(run_convert(tokenizer, source, tmp_path / "out", **settings))
    )
    assert said == "returned 1"
    records = info_of(tmp_path / "out")["records"]
    assert (records["read"], records["dropped"]) == (3, {"too many bytes": 1})
    assert records["dropped_list"][0]["line"] == good.count(b"\n") + 1
    (row,) = rows_of(tmp_path / "out")
    assert row["records"] == [1, 3]


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_an_archive_that_unpacks_to_a_gigabyte_takes_no_more_memory(
    tmp_path: Path, tokenizer: Path, codec: str
) -> None:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(bytes(16 << 20))
    source = tmp_path / ("data.jsonl.gz" if codec == "gzip" else "data.jsonl.zst")
    source.write_bytes(sink.getvalue().to_pybytes() * 64)
    assert source.stat().st_size < 2 << 20
    said = error_under_limit(
        LIMIT, lambda: run_convert(tokenizer, source, tmp_path / "out", type="pretrain")
    )
    assert said.startswith(f"BadRecord: {source}:1: too many bytes: ")


@pytest.mark.parametrize(
    ("kind", "opening"),
    [("pretrain", "["), ("pretrain", '{"text":'), ("ft", '{"messages":['), ("rl", '[1,{"a":')],
)
def test_json_a_million_deep_is_malformed(
    tmp_path: Path, tokenizer: Path, kind: str, opening: str
) -> None:
    source = tmp_path / "data.jsonl"
    closing = {"[": "]", "{": "}"}
    ends = "".join(closing[one] for one in reversed(opening) if one in closing)
    source.write_text(opening * 10**6 + "1" + ends * 10**6 + "\n")
    said = error_under_limit(
        LIMIT, lambda: run_convert(tokenizer, source, tmp_path / "out", type=kind)
    )
    assert said.startswith(f"BadRecord: {source}:1: malformed JSON: the value is nested too deeply")
