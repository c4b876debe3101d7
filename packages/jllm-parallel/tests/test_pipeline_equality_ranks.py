"""A pipeline gives the bits that one process gives, losses and gradients, on either schedule."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import pipeline_ranks_helpers as helpers
from jllm.parallel.pipeline.executor import run_step
from jllm.parallel.pipeline.module_stage import ModuleStage
from jllm.parallel.schedule.check import check
from jllm.parallel.schedule.generate import GENERATORS, forward_only

MICRO_BATCHES = 6


def one_process() -> tuple[dict[str, Tensor], Tensor]:
    """Gradients and losses of a plain loop."""
    model = helpers.blocks_of(0, 1)
    losses = []
    for m in range(MICRO_BATCHES):
        (loss,) = model(helpers.first_inputs(m))
        loss.backward()
        losses.append(loss.detach())
    return helpers.gradients(model), torch.stack(losses)


def train(rank: int, group: dist.ProcessGroup, name: str, ranks: int) -> dict[str, Tensor]:
    model, result = helpers.run_pipeline(rank, group, GENERATORS[name](ranks, MICRO_BATCHES))
    losses = [output[0] for output in result.outputs]
    return helpers.gradients(model) | ({"losses": torch.stack(losses)} if losses else {})


def evaluate(rank: int, group: dist.ProcessGroup, ranks: int) -> dict[str, Tensor]:
    model, result = helpers.run_pipeline(rank, group, forward_only(ranks, MICRO_BATCHES))
    assert not helpers.gradients(model)
    losses = [output[0] for output in result.outputs]
    return {"losses": torch.stack(losses)} if losses else {}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


@pytest.mark.parametrize("name", sorted(GENERATORS))
@pytest.mark.parametrize("ranks", [2, 4])
def test_gradients_and_losses_are_those_of_one_process(
    name: str, ranks: int, tmp_path: Path
) -> None:
    parts = helpers.spawn(train, ranks, tmp_path, name, ranks)
    expected, losses = one_process()
    assert torch.equal(parts[-1].pop("losses"), losses)
    assert_same({key: value for part in parts for key, value in part.items()}, expected)


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_one_stage_is_a_plain_loop_without_a_group(name: str) -> None:
    model = helpers.blocks_of(0, 1)
    stage = ModuleStage(lambda _inputs, m: model(helpers.first_inputs(m)))
    result = run_step(check(GENERATORS[name](1, MICRO_BATCHES)).ranks[0], [stage])
    expected, losses = one_process()
    assert torch.equal(torch.stack([output[0] for output in result.outputs]), losses)
    assert_same(helpers.gradients(model), expected)


def test_evaluation_gives_the_same_losses_and_no_gradients(tmp_path: Path) -> None:
    parts = helpers.spawn(evaluate, 4, tmp_path, 4)
    assert torch.equal(parts[-1]["losses"], one_process()[1])
