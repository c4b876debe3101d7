"""The global shuffle: the order of a naive reference, the same bytes whatever the resources."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jllm.data.format.digests import file_digest
from jllm.data.reading.dataset import open_dataset
from jllm.data.reading.reader import LaneReader
from jllm.data.tools.shuffle.gather import BlockMaker
from parquet_helpers import write_folder, write_info
from shuffle_helpers import all_rows, bytes_of, run_shuffle, the_info, write_dataset

MASK = (1 << 64) - 1


def splitmix64(x: int) -> int:
    z = (x + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def naive_order(rows: int, seed: int) -> list[int]:
    h = splitmix64(splitmix64(seed) ^ 2)
    return sorted(range(rows), key=lambda row: splitmix64(h ^ row))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "ids", 1500)


@pytest.mark.parametrize("seed", [0, 1234])
@pytest.mark.parametrize("blocks", [1, 4, 7])
def test_rows_come_in_the_order_of_the_keys_in_blocks_of_one_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: Path, seed: int, blocks: int
) -> None:
    out = tmp_path / "out"
    run_shuffle(monkeypatch, dataset, out, seed=seed, num_block=blocks, held=100_000)
    rows = all_rows(dataset)
    assert all_rows(out) == [rows[i] for i in naive_order(len(rows), seed)]
    assert sorted(path.name for path in out.glob("*.parquet")) == [
        f"ids-00000-{block:05d}.zstd.parquet" for block in range(blocks)
    ]
    sizes = [file["num_samples"] for file in the_info(out)["files"]]
    assert sum(sizes) == len(rows) and max(sizes) - min(sizes) <= 1


def test_the_bytes_depend_on_no_number_of_processes_and_no_memory_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: Path
) -> None:
    """From everything in one run to rows one by one in buckets that are split again."""
    plans = [(1, 1 << 30), (1, 300_000), (2, 100_000), (3, 70_000), (1, 66_000)]
    written = []
    for number, (processes, held) in enumerate(plans):
        out = tmp_path / f"{number}" / "out"
        run_shuffle(monkeypatch, dataset, out, processes=processes, held=held, num_block=3)
        written.append(bytes_of(out))
    assert all(files == written[0] for files in written[1:])
    run_shuffle(monkeypatch, dataset, tmp_path / "other", seed=5, num_block=3)
    assert bytes_of(tmp_path / "other") != written[0]


def test_the_result_is_a_data_set_with_digests_and_the_same_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: Path
) -> None:
    out = tmp_path / "out"
    run_shuffle(monkeypatch, dataset, out)
    info, before = the_info(out), the_info(dataset)
    for file in info["files"]:
        assert file["bytes"] == (out / file["name"]).stat().st_size
        assert file["digest"] == file_digest(out / file["name"])
    assert list(info) == list(before)
    changed = {"files", "info_digest"}
    assert {key for key in info if info[key] != before[key]} == changed
    old = pq.read_schema(next(dataset.glob("*.parquet")))
    assert all(pq.read_schema(file).equals(old, True) for file in out.glob("*.parquet"))
    opened = open_dataset(out)
    assert max(opened.group_rows) == 256
    with LaneReader(opened, seed=1, global_batch_size=300, lanes=range(300)) as reader:
        firsts = [row[0] for step in range(5) for row in reader.read(step).tokens]
    assert sorted(firsts) == list(range(10, 1510))


def test_data_sets_are_shuffled_together_and_their_accounts_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (
        write_dataset(tmp_path / f"in/{name}", rows, first=first, name=name)
        for name, rows, first in (("a", 90, 0), ("b", 130, 1000))
    )
    kept = two / "tokenizer"
    kept.mkdir()
    (kept / "tokenizer.json").write_text("{}")
    rows = all_rows(one) + all_rows(two)
    run_shuffle(monkeypatch, f"{one},{two}", tmp_path / "mixed")
    assert all_rows(tmp_path / "mixed") == [rows[i] for i in naive_order(220, 1234)]
    info = the_info(tmp_path / "mixed")
    assert info["num_samples"] == 220 and info["tokens"] == 220 and info["trained_tokens"] == 14
    records = info["records"]
    assert (records["read"], records["written"]) == (2 * 220 + 6, 2 * 220)
    assert records["dropped"] == {"empty text": 6}
    assert (tmp_path / "mixed/tokenizer/tokenizer.json").read_text() == "{}"
    run_shuffle(monkeypatch, tmp_path / "in", tmp_path / "parent")  # a folder of data sets
    assert all_rows(tmp_path / "parent") == all_rows(tmp_path / "mixed")


def test_columns_that_jllm_does_not_know_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files by others: no metadata of jllm's, no digests, large row groups, nulls, nested values,
    and texts that take far more memory than the file tells, so that buckets must be split."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "input_ids": rng.integers(0, 99, 5 + i % 4).tolist(),
            "note": None if i % 5 == 0 else "größe" * (400 + i % 3),
            "score": i / 7,
            "vector": None if i % 3 == 0 else [1.5, None, float(i)],
            "nested": {"a": i, "b": [[i], []]},
            "flag": i % 2 == 0,
        }
        for i in range(400)
    ]
    folder = tmp_path / "foreign"
    folder.mkdir()
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"made.by": "another"})
    table = table.set_column(
        0, "input_ids", pa.array([row["input_ids"] for row in rows], pa.list_(pa.int32()))
    )
    pq.write_table(table, folder / "part-0.parquet")
    fields = ["input_ids"]
    write_info(folder, num_samples=400, max_len=9, fields=fields, max_num_blocks=2)
    pieces, read = [], BlockMaker._range
    monkeypatch.setattr(BlockMaker, "_range", lambda *a: pieces.append(a) or read(*a))
    run_shuffle(monkeypatch, folder, tmp_path / "out", held=60_000)
    assert pieces
    assert all_rows(tmp_path / "out") == [rows[i] for i in naive_order(400, 1234)]
    info = the_info(tmp_path / "out")
    assert info["fields"] == fields and info["max_num_blocks"] == 2 and "records" not in info
    schema = pq.read_schema(next((tmp_path / "out").glob("*.parquet")))
    assert schema.metadata[b"made.by"] == b"another"
    assert open_dataset(tmp_path / "out").num_rows == 400


def test_fewer_rows_than_blocks_give_a_file_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"input_ids": [i, 1], "cu_seqlens": [0, 1]} for i in range(3)]
    folder = write_folder(tmp_path / "in", {"a.parquet": rows})
    run_shuffle(monkeypatch, folder, tmp_path / "out", num_block=210)
    assert [file["num_samples"] for file in the_info(tmp_path / "out")["files"]] == [1, 1, 1]
