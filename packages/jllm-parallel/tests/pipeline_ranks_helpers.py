"""Spawns gloo ranks, and a small model in stages with three tensors of three dtypes a boundary."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from jllm.parallel.pipeline.boundary import Boundary, TensorSpec
from jllm.parallel.pipeline.executor import StepResult, run_step
from jllm.parallel.pipeline.module_stage import ModuleStage
from jllm.parallel.pipeline.transport import Transport
from jllm.parallel.schedule.actions import Schedule
from jllm.parallel.schedule.check import check
from spawn_helpers import start_ranks

TOKENS, WIDTH, BLOCKS, VOCABULARY = 12, 16, 8, 32

BOUNDARY: Boundary = (
    TensorSpec(shape=(TOKENS, WIDTH), dtype=torch.float32),
    TensorSpec(shape=(TOKENS,), dtype=torch.int64),
    TensorSpec(shape=(TOKENS, WIDTH), dtype=torch.float64),
)


def spawn(function: Callable, ranks: int, folder: Path, *arguments: object) -> list[dict]:
    """Run `function(rank, group, *arguments) -> dict of tensors` on gloo ranks; what each gave."""
    folder.mkdir(parents=True, exist_ok=True)
    start_ranks(_rank_main, (function, ranks, folder, arguments), ranks)
    return [load_file(folder / f"{rank}.safetensors") for rank in range(ranks)]


def _rank_main(
    rank: int, function: Callable, ranks: int, folder: Path, arguments: tuple[object, ...]
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=ranks,
        timeout=timedelta(seconds=120),  # starting the ranks takes about ten on an idle machine
    )
    try:
        save_file(function(rank, dist.group.WORLD, *arguments), folder / f"{rank}.safetensors")
    finally:
        dist.destroy_process_group()


class Block(nn.Module):
    """Takes and gives (hidden fp32, token ids int64, skip fp64); a function of its index alone."""

    def __init__(self, index: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(index)
        self.index = index
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH, generator=generator) / WIDTH**0.5)
        self.gate = nn.Parameter(torch.randn(WIDTH, generator=generator, dtype=torch.float64))
        self.table = nn.Parameter(torch.randn(VOCABULARY, WIDTH, generator=generator))

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Three tensors in, three out; the last block gives the loss."""
        hidden, ids, skip = inputs
        hidden = hidden + torch.tanh(hidden @ self.weight) + self.table[ids] + skip.float()
        if self.index == BLOCKS - 1:
            return (nn.functional.cross_entropy(hidden @ self.table.T, ids),)
        return hidden, ids, skip * self.gate + hidden.double()


def tokens(micro_batch: int) -> Tensor:
    """int64 [TOKENS], another for each micro-batch."""
    return torch.randint(
        VOCABULARY, (TOKENS,), generator=torch.Generator().manual_seed(100 + micro_batch)
    )


def first_inputs(micro_batch: int) -> tuple[Tensor, ...]:
    """What the first block takes."""
    return torch.zeros(TOKENS, WIDTH), tokens(micro_batch), torch.zeros(TOKENS, WIDTH).double()


def blocks_of(stage: int, stages: int) -> nn.Sequential:
    """The blocks of one of `stages` equal stages; parameters have the names of the whole model."""
    each = BLOCKS // stages
    model = nn.Sequential()
    for index in range(stage * each, (stage + 1) * each):
        model.add_module(str(index), Block(index))
    return model


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter's gradient by its name."""
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def run_pipeline(
    rank: int, group: dist.ProcessGroup, schedule: Schedule
) -> tuple[dict[str, Tensor], StepResult]:
    """One step of this rank's stages: the gradients, and what the executor returns."""
    numbers = [schedule.stage(rank, chunk) for chunk in range(schedule.chunks)]
    models = {number: blocks_of(number, schedule.stages) for number in numbers}

    def stage(number: int) -> ModuleStage:
        model = models[number]
        return ModuleStage(lambda inputs, m: model(inputs if number else first_inputs(m)))

    transport = Transport(group, [BOUNDARY] * (schedule.stages - 1), torch.device("cpu"))
    plan = check(schedule).ranks[rank]
    result = run_step(plan, [stage(number) for number in numbers], transport)
    return {k: v for model in models.values() for k, v in gradients(model).items()}, result
