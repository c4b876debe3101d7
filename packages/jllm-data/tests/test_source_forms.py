"""A file, compressed or not, in a folder or from standard input: the same rows, byte for byte."""

import contextlib
import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from convert_helpers import info_of, run_convert, snapshot
from jllm.data.convert.config import Raw2IdsConfig, check_config
from jllm.data.convert.count_records import BadRecord
from jllm.data.records.input_files import find_sources
from jllm.data.records.splits import cut_splits, read_split
from tokenizer_helpers import save_toy_tokenizer

TEXT = "".join(f'{{"text": "{"long " * (n % 20)}{n}"}}\r\n' for n in range(500)).encode()
PARAGRAPHS = b"\xef\xbb\xbf" + "".join(f"a {n}\r\nb\n\n" * (n % 3) for n in range(900)).encode()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def members(data: bytes, compress: Callable[[bytes], bytes]) -> bytes:
    """Several members, one of them empty, cut anywhere."""
    parts = (data[:1001], b"", data[1001:5000], data[5000:])
    return b"".join(compress(part) for part in parts)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jllm.data.records.splits.SPLIT_BYTES", 4_000)


def rows_by_digest(folder: Path, name: str = "data") -> list[object]:
    """What the info file says of every row group: the digest is over all ids and bounds."""
    info = info_of(folder, name)
    return [info["files"][0]["row_groups"], info["records"], info["tokens"]]


@pytest.mark.parametrize(("suffix", "data"), [(".jsonl", TEXT), (".txt", PARAGRAPHS)])
def test_compressed_files_have_the_units_and_rows_of_the_plain_one_for_every_number_of_processes(
    tmp_path: Path, tokenizer: Path, suffix: str, data: bytes
) -> None:
    forms = {
        "plain": (f"data{suffix}", data),
        "gzip": (f"data{suffix}.gz", members(data, gzip.compress)),
        "zstd": (f"data{suffix}.zst", members(data, zstd)),
    }
    cuts, rows = [], []
    for form, (name, content) in forms.items():
        source = tmp_path / form / name
        source.parent.mkdir()
        source.write_bytes(content)
        (found,), _ = find_sources(source, chats=False)
        units = list(cut_splits(found, max_lines=400))
        cuts.append([(unit.start, unit.stop, unit.first_line) for unit in units])
        assert b"".join(map(read_split, units)) == data
        assert sum(unit.taken for unit in units) == len(content)
        outputs = [tmp_path / f"{form}{cores}" for cores in (1, 2, 3)]
        for cores, out in enumerate(outputs, 1):
            run_convert(tokenizer, source, out, type="pretrain", cores=cores, chunk_size=400)
        assert snapshot(outputs[0]) == snapshot(outputs[1]) == snapshot(outputs[2])
        rows.append(rows_by_digest(outputs[0]))
    assert cuts[0] == cuts[1] == cuts[2] and len(cuts[0]) > 3
    assert rows[0] == rows[1] == rows[2]


def test_the_files_of_a_folder_have_the_rows_that_each_has_alone(
    tmp_path: Path, tokenizer: Path
) -> None:
    names = {"a/data.jsonl": TEXT, "b/data.jsonl.gz": gzip.compress(TEXT), "b/c/x.txt": PARAGRAPHS}
    for name, content in names.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    for cores in (1, 2):
        run_convert(tokenizer, tmp_path / "in", tmp_path / str(cores), type="pretrain", cores=cores)
    assert snapshot(tmp_path / "1") == snapshot(tmp_path / "2")
    for number, (name, output) in enumerate(
        zip(names, ("a__data", "b__data", "b__c__x"), strict=True)
    ):
        alone = tmp_path / f"alone{number}"
        ((converted),) = run_convert(tokenizer, tmp_path / "in" / name, alone, type="pretrain")
        assert rows_by_digest(alone, converted.source.name) == rows_by_digest(
            tmp_path / "1", output
        )


@contextlib.contextmanager
def standard_input(data: bytes) -> Iterator[None]:
    """A pipe that holds `data` (at most 64 KiB) as this process's standard input."""
    kept, (end, start) = os.dup(0), os.pipe()
    try:
        os.write(start, data)
        os.close(start)
        os.dup2(end, 0)
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(end)


def test_standard_input_has_the_rows_of_the_file(tmp_path: Path, tokenizer: Path) -> None:
    (tmp_path / "data.jsonl").write_bytes(TEXT)
    run_convert(tokenizer, tmp_path / "data.jsonl", tmp_path / "file", type="pretrain")
    runs = {1: (TEXT, "data.jsonl"), 2: (zstd(TEXT), "data.jsonl.zst"), 3: (TEXT, "data.jsonl")}
    for cores, (data, name) in runs.items():
        out = tmp_path / str(cores)
        with standard_input(data):
            settings = {"type": "pretrain", "cores": cores, "stdin_name": name}
            run_convert(tokenizer, Path("-"), out, **settings)
        assert rows_by_digest(out) == rows_by_digest(tmp_path / "file")
    assert snapshot(tmp_path / "1") == snapshot(tmp_path / "3")
    with standard_input(b'{"text": "a"}\n{\n'), pytest.raises(BadRecord) as caught:
        run_convert(tokenizer, Path("-"), tmp_path / "bad", type="pretrain")
    assert str(caught.value).startswith("/dev/stdin:2: malformed JSON")


def test_standard_input_needs_an_output() -> None:
    with pytest.raises(ValueError, match="--input -: say where to write"):
        check_config(Raw2IdsConfig(tokenizer="a", input="-"))


@pytest.mark.parametrize("compress", [gzip.compress, zstd], ids=["gz", "zst"])
@pytest.mark.parametrize(
    "damage", ["cut", "cut in a second member", "garbage behind", "plain text"]
)
def test_damaged_archives_are_errors_that_name_the_file_after_the_records_before_them(
    tmp_path: Path, tokenizer: Path, compress: Callable[[bytes], bytes], damage: str
) -> None:
    whole = compress(TEXT)
    content = {
        "cut": whole[:-9],
        "cut in a second member": whole + whole[:300],
        "garbage behind": whole + b"something else that is no member",
        "plain text": TEXT,
    }[damage]
    source = tmp_path / ("data.jsonl.gz" if compress is gzip.compress else "data.jsonl.zst")
    source.write_bytes(content)
    with pytest.raises(ValueError, match=f"{source}: no whole (gzip|zstd) file: ") as caught:
        run_convert(tokenizer, source, tmp_path / "out", type="pretrain")
    assert not isinstance(caught.value, BadRecord) and not (tmp_path / "out").exists()
    if damage in ("cut in a second member", "garbage behind"):
        bad_first = compress(b"{}\n") + content
        source.write_bytes(bad_first)
        with pytest.raises(BadRecord, match=f"{source}:1: missing key"):
            run_convert(tokenizer, source, tmp_path / "out", type="pretrain", cores=2)


def test_a_compressed_file_of_nothing_is_empty(tmp_path: Path, tokenizer: Path) -> None:
    source = tmp_path / "data.jsonl.gz"
    for content in (b"", gzip.compress(b""), gzip.compress(b"\xef\xbb\xbf\r\n")):
        source.write_bytes(content)
        with pytest.raises(ValueError, match="the file is empty"):
            run_convert(tokenizer, source, tmp_path / "out", type="pretrain")
