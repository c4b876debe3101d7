"""A pipeline gives the bits that one process gives, losses and gradients, on either schedule."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import pipeline_ranks_helpers as helpers
from jllm.parallel.pipeline.boundary import TensorSpec
from jllm.parallel.pipeline.executor import run_step
from jllm.parallel.pipeline.module_stage import ModuleStage
from jllm.parallel.pipeline.transport import Transport
from jllm.parallel.schedule.actions import Action, Schedule
from jllm.parallel.schedule.check import check
from jllm.parallel.schedule.generators import GENERATORS, forward_only
from jllm.parallel.schedule.plan import Batch, Message

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


def looped(ranks: int, micro_batches: int) -> Schedule:
    """Two stages a rank; as many micro-batches as ranks go through both before the next follow."""
    actions = tuple(
        Action(kind=kind, chunk=chunk, micro_batch=m)
        for kind, chunks in (("F", (0, 1)), ("B", (1, 0)))
        for first in range(0, micro_batches, ranks)
        for chunk in chunks
        for m in range(first, min(first + ranks, micro_batches))
    )
    return Schedule(
        name="looped",
        micro_batches=micro_batches,
        ranks=(actions,) * ranks,
        live_bound=(2 * micro_batches,) * ranks,
        chunks=2,
    )


TRAINING = {**GENERATORS, "looped": looped}


def run_all(rank: int, group: dist.ProcessGroup) -> dict[str, Tensor]:
    """Gradients and losses of one step of every schedule, by `schedule/name`."""
    tensors = {}
    for name, generate in {**TRAINING, "evaluation": forward_only}.items():
        schedule = generate(dist.get_world_size(group), MICRO_BATCHES)
        gradients, result = helpers.run_pipeline(rank, group, schedule)
        if losses := [output[0] for output in result.outputs]:
            gradients["losses"] = torch.stack(losses)
        tensors |= {f"{name}/{key}": value for key, value in gradients.items()}
    return tensors | send_ahead(rank, group)


def send_ahead(rank: int, group: dist.ProcessGroup) -> dict[str, Tensor]:
    """Rank 0 posts what rank 1 does not yet take: it may go on, or it never comes to the barrier.

    Where a send waited, the group's time limit would end it.
    """
    boundary = (TensorSpec(shape=(1 << 20,), dtype=torch.float32),)
    transport = Transport(group, [boundary] * (dist.get_world_size(group) - 1), torch.device("cpu"))
    hidden = Message(source=0, target=1, kind="hidden", boundary=0, micro_batch=0)
    sent = torch.arange(1 << 20, dtype=torch.float32)
    if rank == 0:
        exchange = transport.start(Batch(send=hidden), (sent,))
    dist.barrier(group)
    if rank == 0:
        exchange.wait_send()
    if rank != 1:
        return {}
    received = transport.start(Batch(receive=hidden), ()).wait_receive()
    return {"ahead/difference": (received[0] - sent).abs().max()}


@pytest.fixture(scope="module", params=[2, 4])
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each of 2 and of 4 ranks found."""
    return helpers.spawn(run_all, request.param, tmp_path_factory.mktemp("ranks"))


def found_by(name: str, parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """What all ranks together found with one schedule; no two of them found the same thing."""
    keys = [key for part in parts for key in part if key.startswith(f"{name}/")]
    assert len(set(keys)) == len(keys)
    merged = {key: value for part in parts for key, value in part.items()}
    return {key.removeprefix(f"{name}/"): merged[key] for key in keys}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


@pytest.mark.parametrize("name", TRAINING)
def test_gradients_and_losses_are_those_of_one_process(
    name: str, parts: list[dict[str, Tensor]]
) -> None:
    gradients, losses = one_process()
    assert_same(found_by(name, parts), gradients | {"losses": losses})


def test_evaluation_gives_the_same_losses_and_no_gradients(parts: list[dict[str, Tensor]]) -> None:
    assert_same(found_by("evaluation", parts), {"losses": one_process()[1]})


def test_a_send_does_not_wait_for_the_rank_that_receives(parts: list[dict[str, Tensor]]) -> None:
    assert found_by("ahead", parts) == {"difference": 0}


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_one_stage_is_a_plain_loop_without_a_group(name: str) -> None:
    model = helpers.blocks_of(0, 1)
    stage = ModuleStage(lambda _inputs, m: model(helpers.first_inputs(m)))
    result = run_step(check(GENERATORS[name](1, MICRO_BATCHES)).ranks[0], [stage])
    expected, losses = one_process()
    assert torch.equal(torch.stack([output[0] for output in result.outputs]), losses)
    assert_same(helpers.gradients(model), expected)
