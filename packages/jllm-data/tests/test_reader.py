"""Any number of readers gives the same global batches, at any step, in any order."""

import os
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.data.reading.dataset import Dataset, open_dataset
from jllm.data.reading.order import locate, steps_per_epoch
from jllm.data.reading.reader import LOCAL_READS, Batch, LaneReader
from parquet_helpers import (
    Row,
    numbered_rows,
    read_plainly,
    write_folder,
    write_info,
    write_parquet,
)

SIZE = 12


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """65 rows in 18 row groups of 3 files; every id of row i of the data set is i."""
    files = {
        "a.parquet": numbered_rows(30),
        "b.parquet": numbered_rows(1, first=30),
        "c.parquet": numbered_rows(34, first=31),
    }
    return open_dataset(write_folder(tmp_path_factory.mktemp("rows"), files))


def reader(
    dataset: Dataset,
    lanes: range = range(SIZE),
    *,
    size: int = SIZE,
    shuffle: bool = True,
    keep_last: bool = False,
    read_ahead: bool = True,
) -> LaneReader:
    return LaneReader(
        dataset, seed=5, global_batch_size=size, lanes=lanes, shuffle=shuffle,
        keep_last=keep_last, read_ahead=read_ahead,
    )  # fmt: skip


def located(dataset: Dataset, step: int, size: int = SIZE) -> list[int]:
    """The numbers of the rows that `order.locate` gives."""
    first = np.concatenate(([0], np.cumsum(dataset.group_rows)))
    groups, rows = locate(dataset.group_rows, 5, size, step, range(size))
    return (first[groups] + rows).tolist()


def assert_same(first: Batch, second: Batch) -> None:
    assert first.step == second.step
    np.testing.assert_array_equal(first.tokens, second.tokens)
    np.testing.assert_array_equal(first.targets, second.targets)
    assert [b.tolist() for b in first.bounds] == [b.tolist() for b in second.bounds]


@pytest.mark.parametrize("read_ahead", [True, False])
def test_steps_of_several_epochs_hold_the_rows_that_locate_names(
    dataset: Dataset, read_ahead: bool
) -> None:
    with reader(dataset, read_ahead=read_ahead) as rows:
        assert rows.steps_per_epoch == 5
        for step in range(17):
            batch = rows.read(step)
            assert batch.tokens[:, 0].tolist() == located(dataset, step)
            assert batch.tokens.shape == batch.targets.shape == (SIZE, 8)
            assert batch.tokens.dtype == batch.targets.dtype == np.int32


@pytest.mark.parametrize("cuts", [[12], [6, 12], [4, 8, 12], [3, 6, 9, 12], [1, 2, 7, 12]])
def test_every_number_of_readers_gives_the_same_global_batches(
    dataset: Dataset, cuts: list[int]
) -> None:
    readers = [reader(dataset, range(a, b)) for a, b in pairwise([0, *cuts])]
    for step in range(11):
        numbers = [n for rows in readers for n in rows.read(step).tokens[:, 0].tolist()]
        assert numbers == located(dataset, step)
    for rows in readers:
        rows.close()


@settings(deadline=None, max_examples=20)
@given(steps=st.lists(st.integers(0, 40), min_size=1, max_size=6), read_ahead=st.booleans())
def test_any_step_read_directly_equals_the_step_reached_in_turn(
    dataset: Dataset, steps: list[int], read_ahead: bool
) -> None:
    with reader(dataset) as in_turn, reader(dataset, read_ahead=read_ahead) as direct:
        batches = [in_turn.read(step) for step in range(max(steps) + 1)]
        for step in steps:
            assert_same(direct.read(step), batches[step])


def test_a_distant_step_is_read_as_any_other(dataset: Dataset) -> None:
    with reader(dataset) as rows:
        assert rows.read(10**9).tokens[:, 0].tolist() == located(dataset, 10**9)


def test_a_batch_larger_than_a_row_group_shares_it_between_lanes(dataset: Dataset) -> None:
    with reader(dataset, range(65), size=65) as rows:
        assert sorted(rows.read(3).tokens[:, 0].tolist()) == list(range(65))
        assert rows.read(3).tokens[:, 0].tolist() == located(dataset, 3, 65)


def test_evaluation_reads_every_row_once_and_fills_with_untrained_rows(dataset: Dataset) -> None:
    with reader(dataset, shuffle=False, keep_last=True) as rows:
        batches = [rows.read(step) for step in range(rows.steps_per_epoch)]
    assert len(batches) == steps_per_epoch(65, SIZE, keep_last=True) == 6
    trained = [(batch.targets != -100).any(axis=1) for batch in batches]
    numbers = [n for b, held in zip(batches, trained, strict=True) for n in b.tokens[held, 0]]
    assert sorted(numbers) == list(range(65))
    empty = [i for held in trained for i in np.flatnonzero(~held)]
    assert len(empty) == 6 * SIZE - 65
    last = batches[-1]
    assert (last.targets[-1] == -100).all()
    assert last.bounds[-1].tolist() == [0, 8]


FOREIGN: dict[str, list[Row]] = {
    "ids": [{"input_ids": [i + 1, 2, 3, 4][: 2 + i % 3]} for i in range(7)],
    "labels": [{"input_ids": [i, 2, 3], "labels": [-100, 2, -100]} for i in range(7)],
    "spark": [{"input_ids": [i] * 6, "cu_seqlens": [0, 2, 5]} for i in range(7)],
}


@pytest.mark.parametrize("shape", FOREIGN)
def test_files_by_others_are_read_as_they_are(tmp_path: Path, shape: str) -> None:
    rows = FOREIGN[shape]
    folder = write_folder(tmp_path, {"part-0.parquet": rows}, digests=False, max_len=6)
    with reader(open_dataset(folder), range(7), size=7, shuffle=False) as lanes:
        batch = lanes.read(0)
    for i, row in enumerate(rows):
        found = batch.tokens[i].tolist(), batch.targets[i].tolist(), batch.bounds[i].tolist()
        assert found == read_plainly(row, 6, None)


def test_a_reader_keeps_a_row_group_a_lane_and_few_ahead(dataset: Dataset) -> None:
    with reader(dataset, range(2)) as rows:
        for step in range(20):
            rows.read(step)
            assert len(rows._groups) <= 2 + 4


def test_more_files_than_footers_are_kept(tmp_path: Path) -> None:
    for i in range(50):
        write_parquet(tmp_path / f"{i:02}.parquet", numbered_rows(2, first=2 * i))
    write_info(tmp_path, num_samples=100, max_len=9)
    dataset = open_dataset(tmp_path)
    with reader(dataset, range(50), size=50) as rows:
        for step in range(6):
            assert rows.read(step).tokens[:, 0].tolist() == located(dataset, step, 50)
            assert len(rows._files[0]._footers) <= 32


def test_close_ends_the_threads(dataset: Dataset) -> None:
    before = threading.active_count()
    with reader(dataset) as rows:
        rows.read(0)
        assert before < threading.active_count() <= before + LOCAL_READS
    assert threading.active_count() == before


def test_the_first_batch_does_not_wait_for_pandas(dataset: Dataset, tmp_path: Path) -> None:
    """Some of Arrow's ways to numpy import it where it is installed, which takes 0.15 s."""
    (tmp_path / "pandas.py").write_text("")
    program = (
        "import sys; from jllm.data.reading.dataset import open_dataset; "
        "from jllm.data.reading.reader import LaneReader; "
        "lanes = LaneReader(open_dataset(sys.argv[1]), seed=5, global_batch_size=2, "
        "lanes=range(2)); print(lanes.read(0).tokens[:, 0].tolist(), 'pandas' in sys.modules)"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, "-c", program, str(dataset.path)]
    ended = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert ended.stdout == f"{located(dataset, 0, 2)} False\n", ended.stderr


def test_wrong_lanes_and_too_little_data_are_refused(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="expected some of 0…11"):
        reader(dataset, range(0, 13))
    with pytest.raises(ValueError, match="has 65 rows, global_batch_size 66 needs"):
        reader(dataset, range(66), size=66)
