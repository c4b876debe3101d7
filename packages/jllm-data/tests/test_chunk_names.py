"""Names of files sort as the files do, and those of few files are the seeds' names."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert_helpers import snapshot, write_jsonl
from jllm.data.convert import resume
from jllm.data.format.file_names import chunk_name, wide_names
from jllm.data.reading.dataset import open_dataset
from resume_helpers import convert_it
from tokenizer_helpers import save_toy_tokenizer

NAMES = st.text("ab.-01", min_size=1, max_size=6)


@settings(max_examples=30, deadline=None)
@given(name=NAMES, partitions=st.lists(st.integers(1, 1100), min_size=1, max_size=3))
def test_names_sort_as_the_files_of_every_partition(name: str, partitions: list[int]) -> None:
    names = [
        chunk_name(name, partition, "zstd", number)
        for partition, count in enumerate(partitions)
        for number in range(count)
    ]
    wide = wide_names(names)
    assert sorted(wide) == wide and len(set(wide)) == len(names)
    assert wide_names(wide) == wide
    assert [int(one.split("-chunk-")[-1].split(".")[0]) for one in wide] == [
        number for count in partitions for number in range(count)
    ]
    if max(partitions) <= 100:
        assert wide == names


def test_a_name_is_that_of_the_seeds_and_other_names_are_left_alone() -> None:
    assert chunk_name("data.jsonl", 3, "gzip", 7) == "data.jsonl-00003-chunk-07.gzip.parquet"
    assert wide_names(["part-1.parquet", "part-10.parquet"]) == [
        "part-1.parquet",
        "part-10.parquet",
    ]


def test_more_than_a_hundred_files_are_in_order_also_when_stopped_while_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "SHARE", 1e9)
    tokenizer = save_toy_tokenizer(tmp_path / "tokenizer")
    settings = {"type": "rl", "max_len": 90, "batch_size": 1, "num_lines_per_partition": 105}
    source = write_jsonl(tmp_path / "many.jsonl", [[n, {"user": "how?"}] for n in range(110)])
    convert_it(tokenizer, source, tmp_path / "whole", **settings)
    groups = open_dataset(tmp_path / "whole").row_groups
    numbers = [pq.read_table(group.file, columns=["labels"])[0][0].as_py() for group in groups]
    assert numbers == [[n] for n in range(110)]
    names = [group.file.name.split(".")[0] for group in groups]
    assert (names[0], names[104]) == ("many-00000-chunk-000", "many-00000-chunk-104")
    assert (names[105], names[109]) == ("many-00001-chunk-00", "many-00001-chunk-04")
    rename, left = Path.rename, [5]

    def stops(self: Path, target: Path) -> Path:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", stops)
        convert_it(tokenizer, source, tmp_path / "out", **settings)
    convert_it(tokenizer, source, tmp_path / "out", **settings)
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")
