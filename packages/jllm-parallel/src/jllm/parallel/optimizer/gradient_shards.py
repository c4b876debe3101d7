"""The gradients of a step: summed in float32 on each process, then over the replicas into shards.

ZeRO stage 1 (arXiv:1910.02054): each replica owns a run of rows of every parameter. Shards are cut
along dimension 0, so the weight table describes them like any other slice.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
from torch import nn

from jllm.parallel.distributed.mesh import Axis

BUCKET_ELEMENTS = 1 << 24
"""Most elements in one collective, unless a single parameter is larger: 64 MiB of float32."""


class GradientSums:
    """The float32 sums of each parameter's gradients over micro-batches.

    Float32 parameters use their own `.grad`. For narrower ones, each new gradient is added to a
    float32 buffer (4 bytes per parameter) and dropped.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        """Register a hook on each parameter that is not float32."""
        self._wide: dict[nn.Parameter, torch.Tensor] = {}
        for parameter in parameters:
            if parameter.dtype != torch.float32:
                parameter.register_post_accumulate_grad_hook(self._add)

    def _add(self, parameter: torch.Tensor) -> None:
        gradient = parameter.grad
        assert gradient is not None and isinstance(parameter, nn.Parameter)
        if parameter in self._wide:
            self._wide[parameter].add_(gradient)
        else:
            self._wide[parameter] = gradient.float()
        parameter.grad = None

    def pop(self, parameter: nn.Parameter) -> torch.Tensor:
        """Remove and return a parameter's float32 sum; zeros where it got no gradient."""
        total = self._wide.pop(parameter, None)
        if total is None:
            total, parameter.grad = parameter.grad, None
        return torch.zeros_like(parameter, dtype=torch.float32) if total is None else total


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardRows:
    """The rows [start, stop) of a parameter that one replica owns."""

    start: int
    stop: int
    padded: int
    """Rows of every replica's shard, padding included."""


def rows_of(rows: int, replicas: int, replica: int) -> ShardRows:
    """Cut `rows` into equal runs, the last ones shorter or empty, and return a replica's run."""
    padded = -(-rows // replicas)
    start = min(replica * padded, rows)
    return ShardRows(start=start, stop=min(start + padded, rows), padded=padded)


def _buckets(sizes: Sequence[int]) -> Iterator[range]:
    start, total = 0, 0
    for i, size in enumerate(sizes):
        if i > start and total + size > BUCKET_ELEMENTS:
            yield range(start, i)
            start, total = i, 0
        total += size
    if sizes:
        yield range(start, len(sizes))


def _padded(tensor: torch.Tensor, replicas: int) -> torch.Tensor:
    """Reshape a parameter-shaped tensor to [replicas, elements of a shard], padded with zeros."""
    missing = -len(tensor) % replicas
    if missing:
        tensor = torch.cat([tensor, tensor.new_zeros(missing, *tensor.shape[1:])])
    return tensor.reshape(replicas, -1)


def reduce_scatter(gradients: Sequence[torch.Tensor], dp: Axis) -> list[torch.Tensor]:
    """Sum gradients over the replicas, and return this replica's shards: float32 [padded rows, …].

    `gradients` are float32, of the parameters' shapes, in the same order on every replica. With one
    replica they are returned as they are.
    """
    if dp.size == 1:
        return list(gradients)
    shards: list[torch.Tensor] = []
    for bucket in _buckets([g.numel() for g in gradients]):
        parts = [_padded(gradients[i], dp.size) for i in bucket]
        whole = torch.cat(parts, dim=1)
        own = whole.new_empty(whole.shape[1])
        dist.reduce_scatter_single(own, whole.view(-1), group=dp.group)
        for i, part in zip(bucket, own.split([p.shape[1] for p in parts]), strict=True):
            shards.append(part.view(-1, *gradients[i].shape[1:]))
    return shards


def all_gather(
    shards: Sequence[torch.Tensor], parameters: Sequence[nn.Parameter], dp: Axis
) -> None:
    """Overwrite whole parameters with the shards of all replicas.

    `shards` are this replica's padded rows, in any floating-point dtype.
    """
    for bucket in _buckets([p.numel() for p in parameters]):
        own = torch.cat([shards[i].reshape(-1).to(parameters[i].dtype) for i in bucket])
        whole = own.new_empty(dp.size, len(own))
        if dp.size == 1:
            whole = own.view(1, -1)
        else:
            dist.all_gather_single(whole.view(-1), own, group=dp.group)
        sizes = [shards[i].numel() for i in bucket]
        for i, part in zip(bucket, whole.split(sizes, dim=1), strict=True):
            rows = part.reshape(-1, *parameters[i].shape[1:])[: len(parameters[i])]
            parameters[i].data.copy_(rows)
