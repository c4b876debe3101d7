"""Sending and receiving the batches of a plan over a process group, with any back end.

A batch is one `batch_isend_irecv`. A computation waits for the receives that it needs. Sends are
waited for later, before the first computation that waits for a later batch; until then their
tensors are held here. NCCL does the same by itself, and `jllm.parallel.schedule.execution_model`
assumes it, so a plan that `check` accepted cannot deadlock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from jllm.parallel.pipeline import boundary
from jllm.parallel.pipeline.boundary import Boundary
from jllm.parallel.schedule.plan import Batch, Message


class Exchange:
    """A batch in flight."""

    def __init__(
        self, batch: Batch, group: dist.ProcessGroup, sent: list[Tensor], received: list[Tensor]
    ) -> None:
        """Post `batch`: send the tensors `sent`, receive into the buffers `received`."""
        self._batch = batch
        self._sent, self._received = sent, received
        ops: list[dist.P2POp] = []
        if batch.send is not None:
            ops += [_op(dist.isend, tensor, batch.send.target, group) for tensor in sent]
        if batch.receive is not None:
            ops += [_op(dist.irecv, tensor, batch.receive.source, group) for tensor in received]
        with _named(batch):
            works = dist.batch_isend_irecv(ops) if ops else []
        one_each = len(works) == len(ops)  # otherwise one handle for the whole grouped call
        self._send_works = works[: len(sent)] if one_each else works
        self._receive_works = works[len(sent) :] if one_each else works

    def wait_receive(self) -> tuple[Tensor, ...]:
        """Wait for the received tensors, and return them."""
        with _named(self._batch):
            for work in self._receive_works:
                work.wait()
        received, self._received, self._receive_works = tuple(self._received), [], []
        return received

    def wait_send(self) -> None:
        """Wait until the sent tensors are no longer needed, and release them."""
        with _named(self._batch):
            for work in self._send_works:
                work.wait()
        self._sent, self._send_works = [], []


def _op(op: Callable, tensor: Tensor, peer: int, group: dist.ProcessGroup) -> dist.P2POp:
    return dist.P2POp(op, tensor, group=group, group_peer=peer)


@contextmanager
def _named(batch: Batch) -> Iterator[None]:
    """Add to an error of the back end which messages are missing and where to look."""
    try:
        yield
    except RuntimeError as error:
        missing = " and ".join(map(str, batch.messages))
        raise RuntimeError(
            f"pipeline: failed to exchange {missing}: {error}. If the other rank printed an error "
            "of its own, that is the cause; otherwise it did not answer in time"
        ) from error


class Transport:
    """Point-to-point messages between the ranks of one pipeline."""

    def __init__(
        self, group: dist.ProcessGroup, boundaries: Sequence[Boundary], device: torch.device
    ) -> None:
        """Connect the ranks of the pipeline. Collective: all ranks of `group` call it.

        `group` holds the ranks in order of their stages. `boundaries[b]` describes the tensors from
        stage b to b+1. Received tensors are allocated on `device`.
        """
        self._group = group
        self._boundaries = tuple(boundaries)
        self._device = device
        # A grouped call among only some ranks is defined only after a collective of the group.
        dist.all_reduce(torch.zeros(1, device=device), group=group)

    def start(self, batch: Batch, tensors: Sequence[Tensor | None]) -> Exchange:
        """Post `batch`, which sends `tensors`; None stands for a gradient that is not sent.

        Raises ValueError where the shapes or dtypes are not those of the boundary.
        """
        sent: list[Tensor] = []
        received: list[Tensor] = []
        if batch.send is not None:
            sent = [t.detach().contiguous() for t in tensors if t is not None]
            boundary.check(batch.send, self._boundaries, sent)
        if batch.receive is not None:
            received = boundary.empty(batch.receive, self._boundaries, self._device)
        return Exchange(batch, self._group, sent, received)

    def received(self, message: Message, tensors: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
        """Return one entry per tensor of the boundary: the received one, None without gradient."""
        if message.kind == "hidden":
            return tensors
        arrived = iter(tensors)
        return tuple(
            next(arrived) if spec.dtype.is_floating_point else None
            for spec in self._boundaries[message.boundary]
        )
