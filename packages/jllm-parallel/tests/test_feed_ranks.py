"""The feed gives every stage of every replica its part of the same global batches."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from jllm.data.reading.dataset import open_dataset
from jllm.data.reading.reader import LaneReader
from jllm.parallel.distributed import mesh as meshes
from jllm.parallel.feed.feed import Feed, join_bounds, lanes, split_bounds
from jllm.parallel.feed.step_data import StepShape
from spawn_helpers import spawn
from training_helpers import MAX_LEN, VOCABULARY, write_data

LENGTH = MAX_LEN - 1
BATCH = 8


def reader(data: Path, part: range) -> LaneReader:
    return LaneReader(open_dataset(data), seed=3, global_batch_size=BATCH, lanes=part)


def check(rank: int, data: Path, stages: int, replicas: int, rows: int) -> None:
    mesh = meshes.build(stages, replicas, torch.device("cpu"))
    part = lanes(BATCH, replicas, mesh.dp.rank)
    shape = StepShape(micro_batches=BATCH // replicas // rows, rows=rows, length=LENGTH)
    own = {"train": reader(data, part)} if mesh.first else None
    feed = Feed(own, mesh, shapes={"train": shape}, vocabulary=VOCABULARY)
    whole = reader(data, range(BATCH))
    for step in range(5):
        feed.request("train", step)
    for step in range(5):
        got, wanted = feed.get(), whole.read(step)
        assert got.trained_tokens == (wanted.targets != -100).sum()
        for m, micro in enumerate(got.micro_batches):
            where = slice(part.start + m * rows, part.start + (m + 1) * rows)
            assert micro.bounds == join_bounds(wanted.bounds[where], LENGTH)
            for values, expected, held in (
                (micro.tokens, wanted.tokens, mesh.first),
                (micro.targets, wanted.targets, mesh.last),
            ):
                assert (values is not None) == held
                if values is not None:
                    np.testing.assert_array_equal(values.numpy(), expected[where].reshape(-1))
    feed.close()


@pytest.mark.parametrize(
    ("stages", "replicas", "rows"), [(1, 1, 2), (2, 1, 1), (3, 1, 4), (1, 2, 2), (2, 2, 1)]
)
def test_every_stage_gets_its_part(tmp_path: Path, stages: int, replicas: int, rows: int) -> None:
    data = write_data(tmp_path / "data", 50)
    spawn(stages * replicas, tmp_path, check, data, stages, replicas, rows)


def check_failure(rank: int, data: Path) -> None:
    mesh = meshes.build(2, 2, torch.device("cpu"))
    own = None
    if mesh.first:
        own = {"train": reader(data, lanes(BATCH, 2, mesh.dp.rank))}
    dist.barrier()  # both have opened it
    if rank == 0:  # the file changes under the readers
        file = data / "part-0.parquet"
        file.write_bytes(file.read_bytes()[:100])
    dist.barrier()
    shape = StepShape(micro_batches=4, rows=1, length=LENGTH)
    feed = Feed(own, mesh, shapes={"train": shape}, vocabulary=VOCABULARY)
    feed.request("train", 0)
    with pytest.raises((ValueError, OSError), match="part-0.parquet|its message is above"):
        feed.get()


def test_a_failing_reader_stops_every_process(tmp_path: Path) -> None:
    spawn(4, tmp_path, check_failure, write_data(tmp_path / "data", 50))


def test_bounds_of_rows_are_joined_and_split() -> None:
    joined = join_bounds([np.array([0, 3, 8]), np.array([0, 8])], 8)
    assert joined == (0, 3, 8, 16)
    assert split_bounds([*joined, 0, 16]) == [joined, (0, 16)]
