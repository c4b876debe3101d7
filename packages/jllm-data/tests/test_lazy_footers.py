"""A lazily opened data set is the same one, and refuses the same files: when they are used."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from jllm.data.format.schema import FileMetadata
from jllm.data.reading import dataset, footer, row_groups
from jllm.data.reading.dataset import Dataset, open_dataset
from jllm.data.reading.mixture import open_mixture
from jllm.data.reading.reader import LaneReader
from parquet_helpers import numbered_rows, write_folder, write_parquet

ABOUT = FileMetadata(kind="pretrain", max_len=9, tokenizer_digest="ab", document_end_id=0)
NAMES = [f"{n}.parquet" for n in range(5)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of 8 rows in 2 row groups, whose info file states their sizes; row i is all i."""
    files = {name: numbered_rows(8, first=8 * n) for n, name in enumerate(NAMES)}
    write_folder(tmp_path / "rows", files, metadata=ABOUT)
    return restate(tmp_path / "rows")


@pytest.fixture
def footers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the files whose footers opening read."""
    read: list[str] = []

    def counted(path: Path) -> footer.Footer:
        read.append(path.name)
        return footer.read_footer(path)

    monkeypatch.setattr(dataset, "read_footer", counted)
    return read


def restate(folder: Path, **more: object) -> Path:
    """State the sizes that the files have now in the info file."""
    info = folder / "data_info.json"
    content = json.loads(info.read_text()) | more
    for file in content["files"]:
        file["bytes"] = (folder / file["name"]).stat().st_size
    info.write_text(json.dumps(content))
    return folder


def numbers(data: Dataset, steps: range = range(40)) -> list[int]:
    """The first id of the row of each step, in the order of the files."""
    with LaneReader(data, seed=1, global_batch_size=1, lanes=range(1), shuffle=False) as rows:
        return [int(rows.read(step).tokens[0, 0]) for step in steps]


def test_one_footer_is_read_and_all_is_known(folder: Path, footers: list[str]) -> None:
    lazy = open_dataset(folder, lazy=True)
    assert footers == ["0.parquet"]
    assert lazy == open_dataset(folder) and len(footers) == 1 + 5
    assert numbers(lazy) == list(range(40))


def test_training_opens_so_and_others_do_not(folder: Path, footers: list[str]) -> None:
    assert open_mixture(str(folder)).num_rows == 40
    assert len(footers) == 1
    open_dataset(folder)
    assert len(footers) == 1 + 5


def test_files_without_a_stated_size_or_of_another_one_are_looked_at(
    folder: Path, footers: list[str]
) -> None:
    write_parquet(
        folder / "3.parquet", numbered_rows(8, first=24), metadata=ABOUT, compression="zstd"
    )
    lazy = open_dataset(folder, lazy=True)
    assert footers == ["0.parquet", "3.parquet"]
    assert numbers(lazy) == list(range(40))
    write_parquet(folder / "3.parquet", numbered_rows(7, first=24), metadata=ABOUT)
    with pytest.raises(ValueError, match="3.parquet: has 7 rows in 2 row groups, .* states 8 in 2"):
        open_dataset(folder, lazy=True)
    (folder / "3.parquet").unlink()
    with pytest.raises(ValueError, match="3.parquet: missing, but listed in"):
        open_dataset(folder, lazy=True)


def test_a_file_that_no_info_file_lists_is_looked_at(folder: Path, footers: list[str]) -> None:
    write_parquet(folder / "5.parquet", numbered_rows(4, first=40), metadata=ABOUT)
    restate(folder, num_samples=44)
    assert numbers(open_dataset(folder, lazy=True), range(44)) == list(range(44))
    assert footers == ["0.parquet", "5.parquet"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"metadata": replace(ABOUT, tokenizer_digest="cd")},
            "has the metadata .*'cd', .*expected",
        ),
        ({"metadata": None}, "has the metadata None, expected FileMetadata"),
        ({"row_group_size": 5}, r"has the numbers of rows \[5, 3\], expected \[4, 4\]"),
        ({"row_group_size": 8}, r"has the numbers of rows \[8\], expected \[4, 4\]"),
    ],
)
@pytest.mark.parametrize("remote", [False, True])
def test_what_an_info_file_said_wrongly_is_an_error_before_a_row_of_the_file_is_used(
    folder: Path, change: dict[str, object], said: str, remote: bool
) -> None:
    options = {"metadata": ABOUT, **change}
    write_parquet(folder / "3.parquet", numbered_rows(8, first=24), **options)
    restate(folder)
    place = folder
    if remote:
        fsspec.filesystem("memory").put(str(folder), "/lazy", recursive=True)
        place = "memory://lazy"
    try:
        with pytest.raises(ValueError, match="3.parquet"):
            open_dataset(place)
        lazy = open_dataset(place, lazy=True)
        assert numbers(lazy, range(24)) == list(range(24))
        with pytest.raises(ValueError, match=f"3.parquet, row group 0: {said}"):
            numbers(lazy, range(24, 25))
        assert numbers(lazy, range(32, 40)) == list(range(32, 40))
    finally:
        if remote:
            fsspec.filesystem("memory").rm("/lazy", recursive=True)


def test_a_footer_that_was_let_go_is_checked_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_groups, "KEPT_FOOTERS", 2)
    lazy = open_dataset(folder, lazy=True)
    files = row_groups.RowGroupFiles(lazy)
    for number in range(10):
        files.read(number)
    other = replace(ABOUT, tokenizer_digest="cd")
    write_parquet(folder / "0.parquet", numbered_rows(8), metadata=other)
    with pytest.raises(ValueError, match="0.parquet, row group 1: has the metadata"):
        files.read(1)


def test_a_damaged_footer_of_the_stated_size_is_an_error_when_it_is_used(folder: Path) -> None:
    path = folder / "4.parquet"
    content = bytearray(path.read_bytes())
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[start : start + 50] = bytes(50)
    path.write_bytes(content)
    lazy = open_dataset(folder, lazy=True)
    assert numbers(lazy, range(32)) == list(range(32))
    with pytest.raises(ValueError, match="4.parquet, row group 0: cannot be read"):
        numbers(lazy, range(32, 33))


def test_an_absurd_number_of_listed_rows_is_not_believed(folder: Path) -> None:
    info = folder / "data_info.json"
    content = json.loads(info.read_text())
    for thing in (content, content["files"][4], content["files"][4]["row_groups"][0]):
        thing["num_samples"] += 10**15
    info.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="4.parquet: has 8 rows in 2 row groups, .* states 10"):
        open_dataset(folder, lazy=True)
