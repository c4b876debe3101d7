"""The executor's gradients are those of torch.distributed.pipelining, schedule by schedule."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import pipelining

import pipeline_ranks_helpers as helpers
from jllm.parallel.pipeline.boundary import TensorSpec
from jllm.parallel.pipeline.executor import run_step
from jllm.parallel.pipeline.module_stage import ModuleStage
from jllm.parallel.pipeline.transport import Transport
from jllm.parallel.schedule.check import check
from jllm.parallel.schedule.generators import GENERATORS

MICRO_BATCHES, ROWS, WIDTH = 5, 6, 8
ORACLES = {"gpipe": pipelining.ScheduleGPipe, "1f1b": pipelining.Schedule1F1B}


def mlp(rank: int) -> nn.Module:
    torch.manual_seed(rank)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH))


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    shape = (MICRO_BATCHES * ROWS, WIDTH)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def oracle(rank: int, group: dist.ProcessGroup, name: str, ranks: int) -> nn.Module:
    model = mlp(rank)
    stage = pipelining.PipelineStage(model, rank, ranks, torch.device("cpu"), group=group)
    inputs, targets = data()
    schedule = ORACLES[name](
        stage, MICRO_BATCHES, loss_fn=nn.functional.mse_loss, scale_grads=False
    )
    schedule.step(*((inputs,) if rank == 0 else ()), target=targets if rank == ranks - 1 else None)
    return model


def ours(rank: int, group: dist.ProcessGroup, name: str, ranks: int) -> nn.Module:
    model = mlp(rank)
    inputs, targets = (tensor.chunk(MICRO_BATCHES) for tensor in data())

    def call(received: tuple[Tensor, ...], micro_batch: int) -> tuple[Tensor, ...]:
        hidden = model(inputs[micro_batch] if rank == 0 else received[0])
        if rank == ranks - 1:
            return (nn.functional.mse_loss(hidden, targets[micro_batch]),)
        return (hidden,)

    boundary = (TensorSpec(shape=(ROWS, WIDTH), dtype=torch.float32),)
    transport = Transport(group, [boundary] * (ranks - 1), torch.device("cpu"))
    run_step(
        check(GENERATORS[name](ranks, MICRO_BATCHES)).ranks[rank], [ModuleStage(call)], transport
    )
    return model


def both(rank: int, group: dist.ProcessGroup) -> dict[str, Tensor]:
    """Gradients of either implementation, by `schedule/implementation/parameter`."""
    gradients = {}
    for name in GENERATORS:
        for kind, run in (("oracle", oracle), ("ours", ours)):
            found = helpers.gradients(run(rank, group, name, dist.get_world_size(group)))
            gradients |= {f"{name}/{kind}/{key}": value for key, value in found.items()}
    return gradients


def test_gradients_equal_those_of_torch_pipelining(tmp_path: Path) -> None:
    for part in helpers.spawn(both, 2, tmp_path):
        mine = [key for key in part if "/ours/" in key]
        assert len(mine) == 4 * len(GENERATORS) and len(part) == 2 * len(mine)
        for key in mine:
            assert torch.equal(part[key], part[key.replace("/ours/", "/oracle/")]), key
