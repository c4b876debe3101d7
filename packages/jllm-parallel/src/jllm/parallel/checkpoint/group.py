"""How the ranks that share a checkpoint talk: JSON to rank 0 and back, and failures to everyone.

Whatever goes wrong on one rank is raised on all of them, so that none waits for another. Two
messages a step; nothing is pickled.
"""

import json
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.distributed as dist

from jllm.models.weights.manifest import CheckpointError


class Group(Protocol):
    """The ranks that write or read a checkpoint together. All calls are collective."""

    @property
    def rank(self) -> int:
        """This process's number in the group."""
        ...

    @property
    def size(self) -> int:
        """Number of processes."""
        ...

    def gather(self, value: Any) -> list[Any]:
        """Return the JSON values of all ranks, in their order, on rank 0; [] elsewhere."""
        ...

    def broadcast(self, value: Any) -> Any:
        """Return rank 0's JSON value on every rank."""
        ...


class SingleProcess:
    """The group of a single process."""

    rank = 0
    size = 1

    def gather(self, value: Any) -> list[Any]:
        """Return the only value."""
        return [value]

    def broadcast(self, value: Any) -> Any:
        """Return the value."""
        return value


class ProcessGroup:
    """A group over a `torch.distributed` process group that can send host tensors (gloo)."""

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        """Use `group`, or the default group where it is None."""
        self._group = group
        self.rank = dist.get_rank(group)
        self.size = dist.get_world_size(group)

    def gather(self, value: Any) -> list[Any]:
        """Gather lengths, then texts padded to the longest."""
        text = json.dumps(value).encode()
        lengths = torch.zeros(self.size, dtype=torch.int64)
        lengths[self.rank] = len(text)
        dist.all_reduce(lengths, group=self._group)
        padded = torch.frombuffer(bytearray(text.ljust(int(lengths.max()))), dtype=torch.uint8)
        parts = [torch.empty_like(padded) for _ in range(self.size)] if self.rank == 0 else None
        dist.gather(padded, parts, group=self._group, group_dst=0)
        return [json.loads(part.numpy().tobytes()) for part in parts or []]

    def broadcast(self, value: Any) -> Any:
        """Send the length, then the text."""
        text = bytearray(json.dumps(value).encode() if self.rank == 0 else b"")
        length = torch.tensor([len(text)])
        dist.broadcast(length, group=self._group, group_src=0)
        data = torch.empty(int(length), dtype=torch.uint8)
        if self.rank == 0:
            data.copy_(torch.frombuffer(text, dtype=torch.uint8))
        dist.broadcast(data, group=self._group, group_src=0)
        return json.loads(data.numpy().tobytes())


def on_all(group: Group, step: Callable[[], Any]) -> list[Any]:
    """Run a step on every rank; return all JSON results on rank 0, [] elsewhere.

    Raises CheckpointError on every rank if the step fails on any, with all that went wrong.
    """
    result, problem, failure = _attempt(step)
    outcomes = group.gather([result, problem])
    problems = [(rank, found) for rank, (_, found) in enumerate(outcomes) if found]
    _raise_together(group.broadcast(problems), group.size, failure)
    return [value for value, _ in outcomes]


def on_rank_zero(group: Group, step: Callable[[], Any]) -> Any:
    """Run a step on rank 0 alone; return its JSON result, or raise its failure, on every rank."""
    result, problem, failure = _attempt(step) if group.rank == 0 else (None, None, None)
    result, problem = group.broadcast([result, problem])
    _raise_together([(0, problem)] if problem else [], group.size, failure)
    return result


def _attempt(step: Callable[[], Any]) -> tuple[Any, str | None, Exception | None]:
    """Return (result, None, None), or what went wrong as text and as the exception."""
    try:
        return step(), None, None
    except Exception as error:  # every kind must reach the other ranks; it is raised there and here
        return None, str(error) or type(error).__name__, error


def _raise_together(problems: list[Any], size: int, failure: Exception | None) -> None:
    """Raise the same error everywhere; a rank that failed for no user's reason shows its own."""
    if not problems:
        return
    if failure is not None and not isinstance(failure, OSError | ValueError):
        raise failure
    texts = [f"rank {rank}: {text}" if size > 1 else str(text) for rank, text in problems]
    raise CheckpointError("\n".join(texts)) from failure
