"""A folder is opened as one data set, or refused with the file's name and the mend."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jllm.data.format.schema import FileMetadata
from jllm.data.reading.dataset import open_dataset
from parquet_helpers import numbered_rows, write_folder, write_info, write_parquet

PRETRAIN = FileMetadata(kind="pretrain", max_len=9, tokenizer_digest="ab", document_end_id=0)
TWO_FILES = {"b.parquet": numbered_rows(7), "a/c.parquet": numbered_rows(5, first=7)}


def test_files_are_taken_by_relative_name_with_their_row_groups(tmp_path: Path) -> None:
    dataset = open_dataset(write_folder(tmp_path, TWO_FILES, metadata=PRETRAIN))
    groups = [(group.file.name, group.index, group.rows) for group in dataset.row_groups]
    assert groups == [("c.parquet", 0, 4), ("c.parquet", 1, 1), ("b.parquet", 0, 4),
                      ("b.parquet", 1, 3)]  # fmt: skip
    assert dataset.group_rows.tolist() == [4, 1, 4, 3]
    assert all(group.digest for group in dataset.row_groups)
    assert (dataset.num_rows, dataset.max_len, dataset.kind) == (12, 9, "pretrain")
    assert dataset.fields == ("input_ids", "cu_seqlens")
    assert (dataset.document_end_id, dataset.tokenizer_digest) == (0, "ab")


def test_hidden_and_temporary_files_are_not_data(tmp_path: Path) -> None:
    write_folder(tmp_path, TWO_FILES)
    hidden = [".b.parquet", "_temporary/0/x.parquet", "_SUCCESS", ".y/z.parquet", ".z_info.json"]
    for name in [*hidden, "x.parquet.tmp"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("not data")
    assert open_dataset(tmp_path).num_rows == 12


def test_several_info_files_add_up(tmp_path: Path) -> None:
    for name, rows in TWO_FILES.items():
        write_parquet(tmp_path / name, rows)
        write_info(tmp_path, name=f"{Path(name).stem}_info.json", num_samples=len(rows), max_len=9)
    assert open_dataset(tmp_path).num_rows == 12


def test_the_longest_of_files_by_others_gives_max_len(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", numbered_rows(4))
    write_info(tmp_path, num_samples=4, max_len=9)
    write_info(tmp_path, num_samples=0, max_len=33, name="more_info.json")
    assert open_dataset(tmp_path).max_len == 33


def test_the_digest_names_the_content_wherever_it_lies(tmp_path: Path) -> None:
    first = open_dataset(write_folder(tmp_path / "a", TWO_FILES)).digest
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert open_dataset(tmp_path / "b").digest == first
    other = {**TWO_FILES, "b.parquet": numbered_rows(7, first=1)}
    assert open_dataset(write_folder(tmp_path / "c", other)).digest != first
    compressed = write_folder(tmp_path / "d", TWO_FILES, compression="zstd")
    assert open_dataset(compressed).digest == first


def test_files_by_others_have_a_digest_of_names_and_footers(tmp_path: Path) -> None:
    first = open_dataset(write_folder(tmp_path / "a", TWO_FILES, digests=False))
    assert {group.digest for group in first.row_groups} == {None}
    renamed = {"b2.parquet": TWO_FILES["b.parquet"], "a/c.parquet": TWO_FILES["a/c.parquet"]}
    second = open_dataset(write_folder(tmp_path / "b", renamed, digests=False))
    assert first.digest != second.digest


def refusal(folder: Path) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        open_dataset(folder)
    return str(caught.value)


def test_a_folder_without_data_or_info_is_refused(tmp_path: Path) -> None:
    assert "not a folder" in refusal(tmp_path / "nowhere")
    assert "holds no *.parquet file" in refusal(tmp_path)
    write_parquet(tmp_path / "a.parquet", numbered_rows(4))
    message = refusal(tmp_path)
    assert "holds no *info.json file" in message
    assert all(key in message for key in ("num_samples", "max_len", "max_num_blocks", "fields"))


def test_a_damaged_footer_names_the_file(tmp_path: Path) -> None:
    path = write_folder(tmp_path, TWO_FILES) / "b.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    assert refusal(tmp_path).startswith(f"{path}: no readable parquet footer")


def test_a_file_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a stand-in for the system's answer, for who runs the tests may be allowed everything."""
    folder, real = write_folder(tmp_path, TWO_FILES), Path.open

    def denied(self: Path, *more: Any, **named: Any) -> Any:
        if self.name == "b.parquet":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *more, **named)

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(PermissionError, match="b.parquet"):
        open_dataset(folder)


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("input_ids", pa.array([[1, 2]], pa.list_(pa.int64())), "expected list<int32>: cast it"),
        ("input_ids", pa.array(["text"]), "column 'input_ids' is string, expected list<int32>"),
        ("text", pa.array(["text"]), "has no column 'input_ids' (columns: text)"),
        ("image_ids", pa.array(["a.jpg"]), "rows with images are not read here"),
    ],
)
def test_wrong_columns_name_the_file_and_the_mend(
    tmp_path: Path, name: str, column: pa.Array, message: str
) -> None:
    ids = {} if name == "text" else {"input_ids": pa.array([[1, 2]], pa.list_(pa.int32()))}
    pq.write_table(pa.table({**ids, name: column}), tmp_path / "a.parquet")
    write_info(tmp_path, num_samples=1, max_len=9)
    assert refusal(tmp_path).startswith(f"{tmp_path / 'a.parquet'}: ")
    assert message in refusal(tmp_path)


def test_a_column_that_the_info_promises_must_be_there(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", numbered_rows(4))
    write_info(tmp_path, num_samples=4, max_len=9, fields=["input_ids", "labels"])
    assert "states the column 'labels'" in refusal(tmp_path)


@pytest.mark.parametrize(
    "other",
    [None, replace(PRETRAIN, tokenizer_digest="cd"), replace(PRETRAIN, max_len=17),
     replace(PRETRAIN, document_end_id=1)],
)  # fmt: skip
def test_files_of_different_conversions_are_refused(
    tmp_path: Path, other: FileMetadata | None
) -> None:
    write_folder(tmp_path, {"a.parquet": numbered_rows(4)}, metadata=PRETRAIN)
    write_parquet(tmp_path / "b.parquet", numbered_rows(4), metadata=other)
    write_info(tmp_path, num_samples=4, max_len=9, name="more_info.json")
    assert "b.parquet and" in refusal(tmp_path)
    assert "differ in metadata" in refusal(tmp_path)


def test_mixed_kinds_are_refused(tmp_path: Path) -> None:
    chats = [{**row, "labels": row["input_ids"]} for row in numbered_rows(4)]
    write_folder(tmp_path, {"a.parquet": numbered_rows(4), "b.parquet": chats})
    assert "differ in kind and columns" in refusal(tmp_path)


def test_max_len_of_the_info_must_be_that_of_the_files(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.parquet": numbered_rows(4)}, metadata=PRETRAIN, max_len=17)
    assert "was written with max_len 9, the info files of" in refusal(tmp_path)


def test_a_listed_file_that_is_missing_or_of_other_rows_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, TWO_FILES)
    (tmp_path / "b.parquet").rename(tmp_path / "kept")
    assert refusal(tmp_path).startswith(f"{tmp_path / 'b.parquet'}: missing, but listed in")
    write_parquet(tmp_path / "b.parquet", numbered_rows(7), row_group_size=3)
    assert "has 7 rows in 3 row groups" in refusal(tmp_path)


def test_rows_that_no_info_counts_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, TWO_FILES)
    write_parquet(tmp_path / "more.parquet", numbered_rows(3))
    message = refusal(tmp_path)
    assert "num_samples is 12, the 3 parquet files hold 15 rows" in message
    assert f"no info file lists {tmp_path / 'more.parquet'}" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a JSON file"),
        ("[1]", "holds a list, expected an object"),
        ('{"max_len": 9}', "num_samples is None, expected a number"),
        ('{"num_samples": 4, "max_len": "9"}', "max_len is '9', expected a number"),
        ('{"num_samples": 4, "max_len": 1}', "max_len is 1, expected 2 to"),
        ('{"num_samples": 4, "max_len": 9, "fields": "ids"}', "fields is 'ids'"),
        ('{"num_samples": 4, "max_len": 9, "files": [{"num_samples": 4}]}', '"files" is damaged'),
        ('{"num_samples": 4, "max_len": 9, "kind": "ft"}', "kind is 'ft', .* has 'pretrain'"),
    ],
)
def test_a_wrong_info_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    write_parquet(tmp_path / "a.parquet", numbered_rows(4))
    (tmp_path / "data_info.json").write_text(content)
    with pytest.raises(ValueError, match=f"^{tmp_path / 'data_info.json'}.*{message}"):
        open_dataset(tmp_path)
