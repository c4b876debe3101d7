"""Columns that may be null by their type, as Spark writes them, are read, checked and shuffled."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jllm.data.format.digests import file_digest, row_group_digest
from jllm.data.format.schema import FIELDS
from jllm.data.format.sealed_json import sealed
from jllm.data.reading.dataset import open_dataset
from jllm.data.reading.reader import LaneReader
from jllm.data.tools.verify.config import VerifyConfig
from jllm.data.tools.verify.verify import verify
from shuffle_helpers import METADATA, Quiet, all_rows, run_shuffle, the_info, write_dataset

OLD_FORM = "0" * 32
"""A digest of 32 digits alone names no algorithm: no reader takes it for one of its own."""


def make_nullable(folder: Path) -> Path:
    """Write the files again with nullable columns, and their info file."""
    (info_path,) = folder.glob("*_info.json")
    info = json.loads(info_path.read_text())
    for file in info["files"]:
        path = folder / file["name"]
        table, groups = pq.read_table(path), pq.read_metadata(path).num_row_groups
        fields = [
            pa.field(one.name, pa.list_(one.type.value_type) if one.name != "source" else one.type)
            for one in table.schema
        ]
        table = table.cast(pa.schema(fields, table.schema.metadata))
        rows = pq.read_metadata(path).row_group(0).num_rows
        pq.write_table(table, path, row_group_size=rows, use_dictionary=["source"])
        assert pq.read_metadata(path).num_row_groups == groups
        for number, group in enumerate(file["row_groups"]):
            columns = {name: table[name].slice(number * rows, rows) for name in FIELDS}
            group["digest"] = row_group_digest(columns)
        file |= {"bytes": path.stat().st_size, "digest": file_digest(path)}
    info_path.write_text(sealed(info))
    return folder


@pytest.fixture
def nullable(tmp_path: Path) -> Path:
    return make_nullable(write_dataset(tmp_path / "nullable", 600))


def tokens_of(folder: Path) -> np.ndarray:
    data = open_dataset(folder)
    with LaneReader(data, seed=3, global_batch_size=4, lanes=range(4)) as reader:
        return np.concatenate([reader.read(step).tokens for step in range(reader.steps_per_epoch)])


def test_they_are_read_and_checked(tmp_path: Path, nullable: Path) -> None:
    new = write_dataset(tmp_path / "new", 600)
    assert all_rows(nullable) == all_rows(new)
    np.testing.assert_array_equal(tokens_of(nullable), tokens_of(new))
    config = VerifyConfig(folder=str(nullable), cores=1)
    (invented,) = verify(config, Quiet()).findings
    assert "trained_tokens is 7" in invented
    info = the_info(nullable)
    info["files"][0]["row_groups"][1]["digest"] = OLD_FORM
    (path,) = nullable.glob("*_info.json")
    path.write_text(sealed(info))
    with pytest.raises(ValueError, match=f"row group 1: digest is blake3:.*, .* {OLD_FORM}"):
        tokens_of(nullable)
    (damaged,) = verify(config, Quiet()).findings
    assert "row group 1: its digest is" in damaged


def test_they_are_shuffled_alone_and_with_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nullable: Path
) -> None:
    new = write_dataset(tmp_path / "new", 600, first=5000, metadata=METADATA)
    run_shuffle(monkeypatch, nullable, tmp_path / "alone")
    run_shuffle(monkeypatch, f"{nullable},{new}", tmp_path / "both")
    for folder, inputs in (("alone", [nullable]), ("both", [nullable, new])):
        expected = [repr(row) for one in inputs for row in all_rows(one)]
        assert sorted(map(repr, all_rows(tmp_path / folder))) == sorted(expected)
        stated = [group["digest"] for file in the_info(tmp_path / folder)["files"]
                  for group in file["row_groups"]]  # fmt: skip
        assert all(digest.startswith("blake3:") for digest in stated)
        assert open_dataset(tmp_path / folder).num_rows == len(expected)
