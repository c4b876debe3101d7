"""`jllm.data.BatchReader` gives the batches of a training run, and goes on from a state."""

import numpy as np
import pytest

import jllm.data as jd
from jllm.data.reading.reader import LaneReader
from parquet_helpers import numbered_rows, write_folder

SIZE = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """65 rows: 5 steps of 12 an epoch."""
    files = {"a.parquet": numbered_rows(30), "b.parquet": numbered_rows(35, first=30)}
    return write_folder(tmp_path_factory.mktemp("rows"), files)


def tokens_of(reader):
    return [batch.tokens.tolist() for batch in reader]


def test_the_batches_are_those_of_training(folder):
    dataset = jd.open_dataset(folder)
    with (
        LaneReader(dataset, seed=7, global_batch_size=SIZE, lanes=range(SIZE)) as lanes,
        jd.BatchReader(dataset, SIZE, seed=7) as reader,
    ):
        assert len(reader) == reader.steps_per_epoch == 5
        for step, (tokens, targets, bounds) in enumerate(reader):
            expected = lanes.read(step)
            assert np.array_equal(tokens, expected.tokens)
            assert np.array_equal(targets, expected.targets)
            assert all(map(np.array_equal, bounds, expected.bounds))
        assert step == 4


def test_ranks_share_each_global_batch(folder):
    with jd.BatchReader(folder, SIZE) as whole:
        expected = [batch.tokens for batch in whole]
    parts = []
    for rank in range(3):
        with jd.BatchReader(str(folder), SIZE, rank=rank, world_size=3) as reader:
            parts.append([batch.tokens for batch in reader])
    for step, tokens in enumerate(expected):
        assert np.array_equal(np.concatenate([part[step] for part in parts]), tokens)


def test_each_loop_begins_at_start_and_a_state_goes_on(folder):
    with jd.BatchReader(folder, SIZE, start=3, steps=9) as reader:
        expected = tokens_of(reader)
        assert len(expected) == len(reader) == 9
        assert tokens_of(reader) == expected
        for batch in reader:
            if batch.step == 6:
                break
        state = reader.state_dict()
    assert state["step"] == 7
    with jd.BatchReader(folder, SIZE, start=3, steps=9) as reader:
        reader.load_state_dict(state)
        assert reader.state_dict() == state
        assert tokens_of(reader) == expected[4:]
        assert tokens_of(reader) == expected


def test_without_steps_a_loop_ends_with_the_epoch(folder):
    with jd.BatchReader(folder, SIZE, start=7) as reader:
        assert [batch.step for batch in reader] == [7, 8, 9]


def test_no_shuffle_is_the_order_of_the_files(folder):
    with jd.BatchReader(folder, SIZE, shuffle=False) as reader:
        firsts = [int(row[0]) for row in reader.read(0).tokens]
    assert firsts == sorted(firsts)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"global_batch_size": 0}, "global_batch_size is 0"),
        ({"global_batch_size": 66}, "global_batch_size 66 needs"),
        ({"global_batch_size": "12"}, "global_batch_size is '12'"),
        ({"rank": 2, "world_size": 2}, "rank is 2, expected 0 to 1"),
        ({"world_size": 5}, "global_batch_size is 12, which 5 ranks"),
        ({"start": -1}, "start is -1"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"steps": True}, "steps is True"),
    ],
)
def test_a_wrong_argument_is_named(folder, arguments, words):
    with pytest.raises(ValueError, match=words):
        jd.BatchReader(folder, **({"global_batch_size": SIZE} | arguments))


def test_what_is_no_data_set_is_named():
    with pytest.raises(ValueError, match="dataset is 3, expected"):
        jd.BatchReader(3)


def test_a_state_of_other_rows_is_refused(folder):
    with jd.BatchReader(folder, SIZE) as reader, jd.BatchReader(folder, SIZE, seed=2) as other:
        with pytest.raises(ValueError, match="seed is 2, this reader's is 1"):
            reader.load_state_dict(other.state_dict())
        with pytest.raises(ValueError, match="state: step is None"):
            reader.load_state_dict({**reader.state_dict(), "step": None})
