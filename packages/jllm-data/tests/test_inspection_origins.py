"""Where rows come from: read where jllm wrote it, and no other column of these names."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inspection_helpers import CHATS, make_chats, printed
from jllm.data.reading.dataset import open_dataset
from jllm.data.tools.inspect.provenance import Origins
from parquet_helpers import INT32_LISTS, write_info


def folder_with(folder: Path, **columns: pa.Array) -> Path:
    ids = pa.array([[1, 2, 3], [4, 5, 6]], INT32_LISTS)
    pq.write_table(pa.table({"input_ids": ids, **columns}), folder / "a.parquet")
    write_info(folder, num_samples=2, max_len=3)
    return folder


def test_records_are_those_of_the_lines(tmp_path: Path) -> None:
    dataset = open_dataset(make_chats(tmp_path))
    origins, records = Origins(dataset), []
    for number, group in enumerate(dataset.row_groups):
        provenance = origins.read(number)
        assert provenance is not None and provenance.source == ["data.jsonl"] * group.rows
        for row in range(group.rows):
            records += provenance.of_row(row, len(provenance.records.row(row)))
    assert sorted(records) == [*range(1, 5), *range(6, len(CHATS) + 1)]


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"source": pa.array(["a", "b"])},
        {"source": pa.array([1, 2]), "records": pa.array([[1], [2]])},
        {"source": pa.array(["a", "b"]), "records": pa.array([1, 2])},
    ],
)
def test_columns_of_others_say_nothing(tmp_path: Path, columns: dict[str, pa.Array]) -> None:
    folder = folder_with(tmp_path, **columns)
    assert Origins(open_dataset(folder)).read(0) is None
    assert "source not kept" in printed(folder)


def test_damaged_provenance_is_named_with_its_file(tmp_path: Path) -> None:
    source, records = pa.array(["a", None]), pa.array([[1], [2]], pa.list_(pa.int64()))
    folder = folder_with(tmp_path, source=source, records=records)
    with pytest.raises(ValueError, match="a.parquet, row group 0: source or records is null"):
        printed(folder)
    records = pa.array([[1], [2, 3]], pa.list_(pa.int64()))
    folder = folder_with(tmp_path, source=pa.array(["a", "b"]), records=records)
    with pytest.raises(ValueError, match="row group 0, row 1: records has 2 entries for 1 docum"):
        printed(folder)
