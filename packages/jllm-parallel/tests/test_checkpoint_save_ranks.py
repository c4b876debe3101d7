"""Several ranks write the files that one rank writes, and any other number of ranks reads them."""

import contextlib
import dataclasses
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from torch.multiprocessing.spawn import ProcessExitedException

from checkpoint_helpers import assert_loads, contents, same_files
from jllm.models.weights.manifest import CheckpointError
from jllm.parallel.checkpoint.folder import clean, find
from jllm.parallel.checkpoint.group import ProcessGroup, SingleProcess, on_all, on_rank_zero
from jllm.parallel.checkpoint.save import save_checkpoint
from jllm.parallel.checkpoint.state import read_state
from jllm.parallel.checkpoint.verify import verify
from spawn_helpers import spawn


def save_and_load(rank: int, folder: Path, size: int) -> None:
    """Save twice together, then load the shares of this layout."""
    group = ProcessGroup()
    for step in (1, 2):
        mine = contents(step, rank, size, torch.float32)
        path = save_checkpoint(folder, mine, group, keep=1, max_shard_bytes=500)
    assert path == find(folder).path == folder / "2"
    verify(find(folder), rank, size)
    assert_loads(path, 2, rank, size)


@pytest.mark.parametrize("size", [2, 4])
def test_files_do_not_depend_on_the_number_of_ranks(tmp_path, size) -> None:
    spawn(size, tmp_path, save_and_load, tmp_path / "many", size)
    save_checkpoint(tmp_path / "one", contents(2), SingleProcess(), max_shard_bytes=500)
    assert {p.name for p in (tmp_path / "many").iterdir()} == {"2", "latest"}
    assert same_files(tmp_path / "many" / "2", tmp_path / "one" / "2")
    verify(find(tmp_path / "many"))
    for rank in range(3):
        assert_loads(tmp_path / "many" / "2", 2, rank, 3)


def load_share(rank: int, folder: Path, size: int) -> None:
    """Load this rank's share of what one process has saved."""
    path = Path(on_rank_zero(ProcessGroup(), lambda: str(find(folder).path)))
    assert read_state(path)["step"] == 5
    assert_loads(path, 5, rank, size)


def test_what_one_process_saved_is_loaded_by_two(tmp_path) -> None:
    save_checkpoint(tmp_path / "one", contents(5), SingleProcess())
    spawn(2, tmp_path, load_share, tmp_path / "one", 2)


def fail_on_rank_1(rank: int, folder: Path) -> None:
    """Fail while rank 1 writes, while rank 1 looks for the folder, and while rank 0 prepares."""
    group = ProcessGroup()
    save_checkpoint(folder, contents(1, rank, 2), group)
    broken = contents(2, rank, 2)
    if rank == 1:
        held = dataclasses.replace(broken.weights, tensors=FullDisk(broken.weights.tensors))
        broken = dataclasses.replace(broken, weights=held)
    with pytest.raises(CheckpointError, match="^rank 1: .*No space left on device"):
        save_checkpoint(folder, broken, group)
    elsewhere = folder if rank == 0 else folder.parent / "elsewhere"
    with pytest.raises(CheckpointError, match="rank 1: .*file system that all machines share"):
        save_checkpoint(elsewhere, contents(2, rank, 2), group)
    nowhere = contents(2, rank, 2)
    if rank == 0:
        nowhere = dataclasses.replace(nowhere, files={"no/such/folder": b""})
    with pytest.raises(CheckpointError, match="^rank 0: .*No such file or directory"):
        save_checkpoint(folder, nowhere, group)
    on_all(group, lambda: None)
    assert {path.name for path in folder.iterdir()} == {"1", "latest"}


class Killed(dict):
    """Tensors of which the first kills the process that wants it."""

    def __getitem__(self, name: str) -> torch.Tensor:
        """End this process at once."""
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class FullDisk(dict):
    """Tensors of which the second cannot be had, as if the disk were full by then."""

    def __getitem__(self, name: str) -> torch.Tensor:
        """Fail for one tensor."""
        if name == "model.layers.10.w":
            raise OSError(28, "No space left on device")
        return super().__getitem__(name)


def test_a_failure_on_one_rank_is_raised_on_all_and_the_older_checkpoint_stays(tmp_path) -> None:
    spawn(2, tmp_path, fail_on_rank_1, tmp_path / "c")
    verify(find(tmp_path / "c"))
    assert_loads(tmp_path / "c" / "1", 1)
    shutil.rmtree(tmp_path / "c")


def be_killed_on_rank_1(rank: int, folder: Path) -> None:
    """Save once, then kill rank 1 while it writes."""
    group = ProcessGroup()
    save_checkpoint(folder, contents(1, rank, 2), group)
    broken = contents(2, rank, 2)
    if rank == 1:
        held = dataclasses.replace(broken.weights, tensors=Killed(broken.weights.tensors))
        broken = dataclasses.replace(broken, weights=held)
    with contextlib.suppress(RuntimeError):  # gloo: connection closed by peer
        save_checkpoint(folder, broken, group)


def test_a_rank_killed_in_a_save_leaves_the_older_checkpoint(tmp_path) -> None:
    with pytest.raises(ProcessExitedException, match="SIGKILL"):
        spawn(2, tmp_path, be_killed_on_rank_1, tmp_path / "c")
    clean(tmp_path / "c")
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"1", "latest"}
    verify(find(tmp_path / "c"))


def talk(rank: int) -> None:
    """Exchange values of unequal length and a failure that is no user's."""
    group = ProcessGroup()
    gathered = group.gather(["é" * 10 * rank, rank])
    assert gathered == ([["é" * 10 * r, r] for r in range(3)] if rank == 0 else [])
    assert group.broadcast({"rank": rank}) == {"rank": 0}
    assert on_rank_zero(group, lambda: [rank]) == [0]
    expected = ZeroDivisionError if rank == 2 else CheckpointError
    with pytest.raises(expected, match="by zero"):
        on_all(group, lambda: 1 // (2 - rank))


def test_ranks_exchange_values_and_failures(tmp_path) -> None:
    spawn(3, tmp_path, talk)
