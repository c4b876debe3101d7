"""A full disk is a clear error; what was saved before stays, nothing half-written is left."""

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkpoint_helpers import assert_loads, contents
from jllm.models.weights.manifest import CheckpointError
from jllm.parallel.checkpoint.folder import find
from jllm.parallel.checkpoint.group import SingleProcess
from jllm.parallel.checkpoint.save import save_checkpoint
from jllm.parallel.checkpoint.verify import verify


def assert_untouched(folder: Path) -> None:
    """Assert that checkpoint 1 and nothing else is there."""
    assert {path.name for path in folder.iterdir()} == {"1", "latest"}
    verify(find(folder))
    assert_loads(folder / "1", 1)


def test_a_file_that_may_not_grow_so_far_fails_the_save_cleanly(tmp_path) -> None:
    save_checkpoint(tmp_path, contents(1), SingleProcess())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 200, 1000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        try:
            with pytest.raises(CheckpointError, match="File too large"):
                save_checkpoint(tmp_path, contents(2), SingleProcess())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert_untouched(tmp_path)
    save_checkpoint(tmp_path, contents(2), SingleProcess())


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 80 KiB; a checkpoint takes about 32 KiB of it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=80k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_fails_the_save_cleanly_and_room_makes_it_work_again(small_disk) -> None:
    save_checkpoint(small_disk, contents(1), SingleProcess())
    (small_disk / "ballast").write_bytes(bytes(24 * 1024))
    with pytest.raises(CheckpointError, match="No space left on device; make room"):
        save_checkpoint(small_disk, contents(2), SingleProcess())
    (small_disk / "ballast").unlink()
    assert_untouched(small_disk)
    save_checkpoint(small_disk, contents(2), SingleProcess(), keep=1)
    assert find(small_disk).path.name == "2"
