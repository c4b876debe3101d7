"""Folders that state or unpack to absurd sizes, or lead elsewhere: refused in little memory."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jllm.data.reading.dataset import open_dataset
from jllm.data.reading.reader import LaneReader
from jllm.data.writing.staging import written_by_jllm
from memory_limit_helpers import error_under_limit
from parquet_helpers import INT32_LISTS, numbered_rows, write_folder, write_info

LIMIT = 128 << 20
"""More memory than the process has; what is built here would want more."""
IDS = 1 << 25


def first_row(folder: Path) -> Callable[[], object]:
    def read() -> object:
        with LaneReader(
            open_dataset(folder), seed=1, global_batch_size=1, lanes=range(1)
        ) as reader:
            return reader.read(0).tokens.shape

    return read


def zigzag(number: int) -> bytes:
    """A number as parquet footers and page headers hold it (thrift, compact)."""
    number, out = 2 * number, b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def change_footer(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    footer = content[start:-8]
    assert old in footer
    footer = footer.replace(old, new)
    path.write_bytes(content[:start] + footer + len(footer).to_bytes(4, "little") + b"PAR1")


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of a few hundred bytes that holds one row of IDS zeros."""
    path = tmp_path_factory.mktemp("bomb") / "a.parquet"
    zeros = pa.array(np.zeros(IDS, np.int32))
    rows = pa.ListArray.from_arrays(pa.array([0, IDS], pa.int32()), zeros)
    pq.write_table(pa.table({"input_ids": rows}), path, write_statistics=False)
    assert path.stat().st_size < 20_000
    return path.read_bytes()


def folder_of(path: Path, content: bytes, *, rows: int, max_len: int) -> Path:
    path.mkdir()
    (path / "a.parquet").write_bytes(content)
    write_info(path, num_samples=rows, max_len=max_len)
    return path


def test_a_row_that_unpacks_to_far_more_than_max_len_is_refused_unread(
    tmp_path: Path, bomb: bytes
) -> None:
    folder = folder_of(tmp_path / "d", bomb, rows=1, max_len=4096)
    said = error_under_limit(LIMIT, first_row(folder))
    assert said.startswith(f"ValueError: {folder}/a.parquet, row group 0: states")
    assert f"states {IDS:,} values of input_ids in 1 rows, expected at most 4,096" in said


def test_a_footer_that_states_less_than_there_is_does_not_help(tmp_path: Path, bomb: bytes) -> None:
    folder = folder_of(tmp_path / "d", bomb, rows=1, max_len=4096)
    change_footer(folder / "a.parquet", zigzag(IDS), zigzag(10))
    said = error_under_limit(LIMIT, first_row(folder))
    assert said.startswith(f"ValueError: {folder}/a.parquet, row group 0")


@pytest.mark.parametrize("rows", [2 * 10**15, (1 << 24) + 1])
def test_an_absurd_number_of_rows_is_refused(tmp_path: Path, rows: int) -> None:
    table = pa.table({"input_ids": pa.array([[1, 2]] * 12_345, INT32_LISTS)})
    pq.write_table(table, tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    folder = folder_of(tmp_path / "d", content, rows=rows, max_len=8)
    change_footer(folder / "a.parquet", b"\x16" + zigzag(12_345), b"\x16" + zigzag(rows))
    said = error_under_limit(LIMIT, first_row(folder))
    assert said.startswith(f"ValueError: {folder}/a.parquet: no readable parquet footer (states ")
    assert f"{rows:,} rows, expected at most" in said


def test_a_page_that_states_an_absurd_size_is_refused(tmp_path: Path) -> None:
    table = pa.table({"input_ids": pa.array([[1, 2, 3, 4] * 100] * 1000, INT32_LISTS)})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=False, compression="zstd")
    content = (tmp_path / "a.parquet").read_bytes()
    assert content[4:7] == b"\x15\x00\x15", "page type 0, then the size"
    end = 7 + next(n for n, byte in enumerate(content[7:]) if byte < 128) + 1
    content = content[:7] + zigzag(2**31 - 1) + content[end:]
    folder = folder_of(tmp_path / "d", content, rows=1000, max_len=400)
    said = error_under_limit(LIMIT, first_row(folder))
    assert said.startswith(f"ValueError: {folder}/a.parquet, row group 0: ")


def test_an_absurd_footer_is_refused_unread(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "d", b"PAR1", rows=1, max_len=8)
    with (folder / "a.parquet").open("r+b") as file:
        file.seek(1 << 30)
        file.write(((1 << 30) - 4).to_bytes(4, "little") + b"PAR1")
    said = error_under_limit(LIMIT, first_row(folder))
    assert said.startswith(f"ValueError: {folder}/a.parquet: no readable parquet footer (states a")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 10**6, "not a JSON file (maximum recursion depth"),
        (b'{"files": ' + b"[" * 10**6, "not a JSON file (maximum recursion depth"),
        (b'{"num_samples": 1, "max_len": 1000000000000}', "expected 2 to 16777216"),
        (b'{"num_samples": ' + b"9" * 10_000 + b"}", "not a JSON file (Exceeds the limit"),
        (None, "has 2,147,483,648 bytes, expected at most 1,073,741,824"),
    ],
    ids=["deep", "deep files", "max_len", "digits", "2 GiB"],
)
def test_an_absurd_info_file_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    folder = write_folder(tmp_path / "d", {"a.parquet": numbered_rows(4)})
    (folder / "data_info.json").write_bytes(content or b"")
    if content is None:
        os.truncate(folder / "data_info.json", 2 << 30)
    found = error_under_limit(LIMIT, first_row(folder))
    assert found.startswith(f"ValueError: {folder}/data_info.json: ") and said in found


@pytest.mark.parametrize("name", ["../../etc/x.parquet", "/etc/x.parquet", "a/../../x", "..", ""])
def test_an_info_file_that_names_files_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / "d", {"a.parquet": numbered_rows(4)})
    files = [{"name": name, "num_samples": 4, "row_groups": []}]
    write_info(folder, num_samples=4, max_len=9, files=files)
    with pytest.raises(ValueError, match="lists the file .*, expected a name in its folder"):
        open_dataset(folder)


@pytest.mark.parametrize("name", ["b.parquet", "b_info.json"])
def test_links_out_of_the_folder_are_refused_and_links_inside_are_not(
    tmp_path: Path, name: str
) -> None:
    folder = write_folder(tmp_path / "d", {"a.parquet": numbered_rows(4)})
    outside = tmp_path / name
    outside.write_text("secret")
    (folder / name).symlink_to("../" + name)
    with pytest.raises(ValueError, match=f"{name}: is a link out of the folder, to {outside}"):
        open_dataset(folder)
    (folder / name).unlink()
    (folder / "data_info.json").rename(folder / "kept.txt")
    (folder / "data_info.json").symlink_to("kept.txt")
    (tmp_path / "linked").symlink_to(folder)
    assert open_dataset(tmp_path / "linked").num_rows == 4


def test_only_parquet_files_in_the_folder_itself_are_taken_for_those_of_a_conversion(
    tmp_path: Path,
) -> None:
    """These are what `--clean` removes."""
    folder = write_folder(tmp_path / "d", {"a.parquet": numbered_rows(4)})
    for name in ("thesis.txt", "../b.parquet", "sub/c.parquet"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
    names = ("a.parquet", "thesis.txt", "../b.parquet", "sub/c.parquet", "..", ".", "d_info.json")
    files = [{"name": name} for name in names]
    about = write_info(
        folder, num_samples=4, max_len=9, files=files, name="d_info.json", format_version=1
    )
    (folder / "deep_info.json").write_bytes(b"[" * 10**6)
    assert written_by_jllm(folder) == [folder / "a.parquet", about]
