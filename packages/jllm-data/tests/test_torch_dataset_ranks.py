"""`jllm.data.torch_dataset` behind a real DataLoader: one order, whatever the number of workers."""

import sys

import pytest
import torch
from torch.utils.data import DataLoader

import jllm.data as jd
from parquet_helpers import numbered_rows, write_folder

SIZE = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """65 rows: 5 steps of 12 an epoch."""
    files = {"a.parquet": numbered_rows(30), "b.parquet": numbered_rows(35, first=30)}
    return write_folder(tmp_path_factory.mktemp("rows"), files)


def loaded(dataset, workers):
    return list(DataLoader(dataset, batch_size=None, num_workers=workers))


def assert_same(found, expected):
    assert [item["step"] for item in found] == [item["step"] for item in expected]
    for one, other in zip(found, expected, strict=True):
        for name in ("tokens", "targets"):
            assert one[name].dtype == torch.int64
            assert torch.equal(one[name], other[name])
        assert all(map(torch.equal, one["bounds"], other["bounds"]))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_order_is_that_of_the_reader(folder, workers):
    with jd.BatchReader(folder, SIZE, rank=1, world_size=2, steps=11) as reader:
        expected = list(reader)
    found = loaded(jd.torch_dataset(folder, SIZE, rank=1, world_size=2, steps=11), workers)
    assert [item["step"] for item in found] == list(range(11))
    for item, batch in zip(found, expected, strict=True):
        assert item["tokens"].tolist() == batch.tokens.tolist()
        assert item["targets"].tolist() == batch.targets.tolist()
        assert [row.tolist() for row in item["bounds"]] == [row.tolist() for row in batch.bounds]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("workers_before", [0, 2])
def test_a_state_goes_on_with_any_number_of_workers(folder, workers_before, workers):
    expected = loaded(jd.torch_dataset(folder, SIZE, steps=9), 0)
    before = jd.torch_dataset(folder, SIZE, steps=9)
    for item in DataLoader(before, batch_size=None, num_workers=workers_before):
        if item["step"] == 3:
            break
    state = before.state_dict(after=item)
    assert state["step"] == 4
    after = jd.torch_dataset(folder, SIZE, steps=9)
    after.load_state_dict(state)
    assert_same(loaded(after, workers), expected[4:])


def test_every_loop_of_a_loader_is_the_same(folder):
    loader = DataLoader(jd.torch_dataset(folder, SIZE), batch_size=None, num_workers=2)
    assert len(loader) == 5
    assert_same(list(loader), list(loader))


def test_the_state_here_is_that_of_the_last_item(folder):
    dataset = jd.torch_dataset(folder, SIZE)
    for item in dataset:
        assert dataset.state_dict() == dataset.state_dict(after=item)


def test_a_state_that_workers_made_stale_is_refused(folder):
    dataset = jd.torch_dataset(folder, SIZE)
    loaded(dataset, 2)
    with pytest.raises(ValueError, match=r"state_dict\(after=item\)"):
        dataset.state_dict()


def test_wrong_arguments_are_named_before_any_worker_starts(folder):
    with pytest.raises(ValueError, match="world_size"):
        jd.torch_dataset(folder, SIZE, world_size=7)


def test_without_torch_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "jllm.data.torch_steps", raising=False)
    with pytest.raises(ValueError, match=r"pip install 'jllm-data\[torch\]'"):
        jd.torch_dataset(folder, SIZE)
