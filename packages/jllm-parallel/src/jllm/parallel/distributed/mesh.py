"""The mesh: the coordinates of a process, and its process groups.

Processes are numbered replica by replica, rank = replica · stages + stage, so the stages of one
pipeline are neighbours. A group of one process is None, and operations on it do nothing.
"""

import contextlib
import dataclasses
import datetime
import os
from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist

from jllm.parallel.distributed import device as devices
from jllm.parallel.distributed.launch import Launch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of the mesh, through this process."""

    rank: int = 0
    """Coordinate of this process."""
    ranks: tuple[int, ...] = (0,)
    """Global ranks along the axis, through this process."""
    group: dist.ProcessGroup | None = None
    """Process group with the device's back end; that of the world is for host tensors."""

    @property
    def size(self) -> int:
        """Number of processes along the axis."""
        return len(self.ranks)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mesh:
    """All axes of a run. Only the thread of the feed uses the groups named feed."""

    world: Axis = Axis()
    pp: Axis = Axis()
    dp: Axis = Axis()
    embedding_head: Axis = Axis()
    """First and last stage of this pipeline; of size 1 on the stages between them, and where there
    is only one stage."""
    feed_pipeline: dist.ProcessGroup | None = None
    """Group of the pipeline for host tensors."""
    feed_readers: dist.ProcessGroup | None = None
    """Group of the first stages of all pipelines for host tensors."""

    @property
    def first(self) -> bool:
        """Whether this process holds the first stage."""
        return self.pp.rank == 0

    @property
    def last(self) -> bool:
        """Whether this process holds the last stage."""
        return self.pp.rank == self.pp.size - 1


def pipeline_ranks(replica: int, stages: int) -> tuple[int, ...]:
    """Return the global ranks of one pipeline's stages."""
    return tuple(range(replica * stages, (replica + 1) * stages))


def replica_ranks(stage: int, stages: int, replicas: int) -> tuple[int, ...]:
    """Return the global ranks that hold the same stage."""
    return tuple(range(stage, stages * replicas, stages))


def build(stages: int, replicas: int, device: torch.device, timeout_s: int = 3600) -> Mesh:
    """Make the process groups. Collective: every process calls it within `joined`, sizes alike."""
    if stages * replicas == 1:
        return Mesh()
    rank, backend = dist.get_rank(), devices.backend(device)
    timeout = datetime.timedelta(seconds=timeout_s)  # a new group does not inherit it
    replica, stage = divmod(rank, stages)

    def groups(cuts: Sequence[tuple[int, ...]], name: str) -> dist.ProcessGroup | None:
        """Make one group per cut, in the same order everywhere, and return this process's."""
        mine = None
        for ranks in cuts:
            if len(ranks) > 1:
                made = dist.new_group(list(ranks), timeout, name)
                if rank in ranks:
                    assert isinstance(made, dist.ProcessGroup)
                    mine = made
        return mine

    control = devices.CONTROL_BACKEND
    pipelines = [pipeline_ranks(r, stages) for r in range(replicas)]
    copies = [replica_ranks(s, stages, replicas) for s in range(stages)]
    embedding_head = [(p[0], p[-1]) for p in pipelines] if stages > 1 else []
    world = tuple(range(stages * replicas))
    own_ends = next((e for e in embedding_head if rank in e), (rank,))
    return Mesh(
        world=Axis(rank=rank, ranks=world, group=groups([world], control)),
        pp=Axis(rank=stage, ranks=pipelines[replica], group=groups(pipelines, backend)),
        dp=Axis(rank=replica, ranks=copies[stage], group=groups(copies, backend)),
        embedding_head=Axis(
            rank=own_ends.index(rank), ranks=own_ends, group=groups(embedding_head, backend)
        ),
        feed_pipeline=groups(pipelines, control),
        feed_readers=groups(copies[:1], control),
    )


@contextlib.contextmanager
def joined(launch: Launch, device: torch.device, timeout_s: int) -> Iterator[None]:
    """Join the job's processes; does nothing with one process, or where this one has joined before.

    Leaves them where the block ends well. After an error it does not, since leaving might wait for
    processes that have ended.

    Raises ValueError where the address at which the processes meet cannot be used.
    """
    if launch.world_size == 1 or dist.is_initialized():
        yield
        return
    try:
        dist.init_process_group(
            devices.backend(device),
            timeout=datetime.timedelta(seconds=timeout_s),
        )
    except dist.DistNetworkError as error:
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        used = "EADDRINUSE" in str(error)
        said = "is in use by another job" if used else str(error).splitlines()[0]
        raise ValueError(
            f"the processes cannot meet at {where}: {said}; choose another port "
            "(torchrun --master_port, or --standalone on one machine)"
        ) from error
    yield
    dist.destroy_process_group()


def leave(mesh: Mesh) -> None:
    """Destroy the groups that `build` made; groups made before it stay."""
    axes = (mesh.world, mesh.pp, mesh.dp, mesh.embedding_head)
    for group in (*(axis.group for axis in axes), mesh.feed_pipeline, mesh.feed_readers):
        if group is not None:
            dist.destroy_process_group(group)
