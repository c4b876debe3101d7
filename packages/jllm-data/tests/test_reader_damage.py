"""Damaged, cut or changed files give an error that names file and row group, never other data."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jllm.data.reading.dataset import Dataset, open_dataset
from jllm.data.reading.reader import LaneReader
from parquet_helpers import numbered_rows, write_folder, write_parquet

ROWS = [
    {"input_ids": list(range(i, i + 9)), "cu_seqlens": [0, 3 + i % 4, 8], "labels": range(i, i + 9)}
    for i in range(8)
]
WRITERS = {
    "plain": {"compression": "none", "use_dictionary": False},
    "dictionary": {"compression": "snappy"},
    "zstd": {"compression": "zstd", "use_dictionary": False},
    "gzip, pages of version 2": {"compression": "gzip", "data_page_version": "2.0"},
}


def read_all(dataset: Dataset, read_ahead: bool = False) -> np.ndarray:
    """Tokens, targets and bounds of all rows of a data set of which 4 rows are a step."""
    with LaneReader(
        dataset, seed=1, global_batch_size=4, lanes=range(4), read_ahead=read_ahead, shuffle=False
    ) as reader:
        batches = [reader.read(step) for step in range(reader.steps_per_epoch)]
    parts = [(*batch.tokens, *batch.targets, *batch.bounds) for batch in batches]
    return np.concatenate([array for part in parts for array in part])


def pages(path: Path) -> list[range]:
    """The bytes of each column chunk: page headers and pages."""
    footer = pq.read_metadata(path)
    chunks = [
        footer.row_group(group).column(column)
        for group in range(footer.num_row_groups)
        for column in range(footer.num_columns)
    ]
    starts = [chunk.dictionary_page_offset or chunk.data_page_offset for chunk in chunks]
    return [
        range(start, start + chunk.total_compressed_size)
        for start, chunk in zip(starts, chunks, strict=True)
    ]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_flipped_byte_is_an_error_or_changes_no_value(tmp_path: Path, writer: str) -> None:
    path = write_folder(tmp_path, {"a.parquet": ROWS}, **WRITERS[writer]) / "a.parquet"
    dataset, good = open_dataset(tmp_path), path.read_bytes()
    expected, refused = read_all(dataset), 0
    places = [place for chunk in pages(path) for place in chunk]
    for place in places:
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :])
        try:
            np.testing.assert_array_equal(read_all(dataset), expected)
        except ValueError as error:
            refused += 1
            assert str(error).startswith(f"{path}, row group ")
    assert refused > len(places) / 3  # the rest are statistics and spare bits of page headers


@pytest.mark.parametrize("checksums", [True, False])
def test_every_flipped_byte_of_the_values_is_an_error(tmp_path: Path, checksums: bool) -> None:
    options = {"write_page_checksum": checksums, **WRITERS["plain"]}
    write_folder(tmp_path, {"a.parquet": ROWS}, digests=not checksums, **options)
    path = tmp_path / "a.parquet"
    dataset, good = open_dataset(tmp_path), path.read_bytes()
    values = np.array([row["input_ids"] for row in ROWS[:4]], "<i4").tobytes()
    start = good.index(values)
    for place in range(start, start + len(values)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(ValueError, match=f"^{path}, row group 0: "):
            read_all(dataset)


@pytest.mark.parametrize("read_ahead", [True, False])
@pytest.mark.parametrize("kept", [0, 4, 100, 1000])
def test_a_file_cut_short_after_opening_is_an_error(
    tmp_path: Path, read_ahead: bool, kept: int
) -> None:
    path = write_folder(tmp_path, {"a.parquet": ROWS}) / "a.parquet"
    dataset = open_dataset(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=f"^{path}, row group 0: cannot be read"):
        read_all(dataset, read_ahead)


def test_a_file_cut_short_while_it_is_open_is_an_error(tmp_path: Path) -> None:
    path = write_folder(tmp_path, {"a.parquet": ROWS}) / "a.parquet"
    dataset = open_dataset(tmp_path)
    with LaneReader(
        dataset, seed=1, global_batch_size=1, lanes=range(1), shuffle=False, read_ahead=False
    ) as reader:
        reader.read(0)
        with path.open("r+b") as file:
            file.truncate(pages(path)[3].start + 8)
        with pytest.raises(ValueError, match=f"^{path}, row group 1: cannot be read"):
            reader.read(4)


def test_a_file_removed_after_opening_is_an_error(tmp_path: Path) -> None:
    path = write_folder(tmp_path, {"a.parquet": ROWS}) / "a.parquet"
    dataset = open_dataset(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=f"^{path}, row group 0: cannot be read"):
        read_all(dataset)


def test_a_file_replaced_by_another_conversion_is_an_error(tmp_path: Path) -> None:
    path = write_folder(tmp_path, {"a.parquet": ROWS}) / "a.parquet"
    dataset = open_dataset(tmp_path)
    write_parquet(path, [*ROWS[1:], ROWS[0]])
    with pytest.raises(ValueError, match="row group 0: digest is .*, the info file states"):
        read_all(dataset)
    write_parquet(path, ROWS, row_group_size=3)
    with pytest.raises(ValueError, match=r"row group 0: has the numbers of rows \[3, 3, 2\], exp"):
        read_all(dataset)
    write_parquet(path, numbered_rows(8))
    with pytest.raises(ValueError, match="row group 0: has the columns .*, expected .*labels"):
        read_all(dataset)


def test_without_digests_a_file_that_was_written_again_is_an_error(tmp_path: Path) -> None:
    path = write_folder(tmp_path, {"a.parquet": numbered_rows(8)}, digests=False) / "a.parquet"
    dataset = open_dataset(tmp_path)
    first = read_all(dataset)
    write_parquet(path, numbered_rows(8, first=1))
    with pytest.raises(ValueError, match=f"^{path}, row group 0: the file has .* bytes .*, had"):
        read_all(dataset)
    assert first[0] == 0 and read_all(open_dataset(tmp_path))[0] == 1


def test_damage_found_ahead_is_raised_by_the_step_that_needs_it_and_again_when_asked_again(
    tmp_path: Path,
) -> None:
    names = [f"{i}.parquet" for i in range(4)]
    folder = write_folder(tmp_path, {name: numbered_rows(2) for name in names}, row_group_size=2)
    dataset = open_dataset(folder)
    good = (folder / names[2]).read_bytes()
    (folder / names[2]).write_bytes(b"")
    with LaneReader(dataset, seed=1, global_batch_size=1, lanes=range(1), shuffle=False) as reader:
        for step in range(4):
            reader.read(step)
        for _ in range(2):
            with pytest.raises(ValueError, match="2.parquet, row group 0: cannot be read"):
                reader.read(4)
        (folder / names[2]).write_bytes(good)
        assert reader.read(4).tokens.shape == (1, 8)
