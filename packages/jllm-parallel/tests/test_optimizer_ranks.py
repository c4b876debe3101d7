"""Sharded AdamW on several replicas and stages against torch's AdamW on one process."""

from pathlib import Path

import pytest
import torch
from torch import nn

from jllm.parallel.distributed import mesh as meshes
from jllm.parallel.optimizer import gradient_shards
from jllm.parallel.optimizer.gradient_shards import reduce_scatter, rows_of
from jllm.parallel.optimizer.sharded_adamw import NORM_RUN, ShardedAdamW, square_norm
from spawn_helpers import spawn

SHAPES = {"units.0.a": (7, 3), "units.1.b": (1, 4), "units.2.c": (5,), "units.3.d": (4, 3)}
TIED = ("units.0.a", "units.3.e")


def parameters() -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    named = {n: nn.Parameter(torch.randn(s, generator=generator)) for n, s in SHAPES.items()}
    return named | {TIED[1]: nn.Parameter(named[TIED[0]].detach().clone())}


def gradient(name: str, step: int, replica: int) -> torch.Tensor:
    shape = SHAPES.get(name, SHAPES[TIED[0]])
    seed = 1000 * step + 100 * replica + len(name) + sum(map(ord, name))
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def reference(replicas: int) -> tuple[dict[str, torch.Tensor], list[float]]:
    named = parameters()
    del named[TIED[1]]
    adam = torch.optim.AdamW(
        [
            {"params": [p for p in named.values() if p.dim() > 1], "weight_decay": 0.1},
            {"params": [p for p in named.values() if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=0.01,
        betas=(0.9, 0.95),
    )
    norms = []
    for step in range(4):
        for name, p in named.items():
            p.grad = sum(gradient(name, step, r) for r in range(replicas))
        for r in range(replicas):
            named[TIED[0]].grad += gradient(TIED[1], step, r)
        norms.append(float(nn.utils.clip_grad_norm_(named.values(), 1.0)))
        adam.step()
    return {n: p.detach() for n, p in named.items()}, norms


def check(rank: int, stages: int, replicas: int) -> None:
    mesh = meshes.build(stages, replicas, torch.device("cpu"))
    own = {n: p for n, p in parameters().items() if int(n[6]) * stages // 4 == mesh.pp.rank}
    if stages == 1:
        own[TIED[1]] = nn.Parameter(own[TIED[0]].detach())
    optimizer = ShardedAdamW(
        list(own.items()),
        mesh,
        tied=TIED,
        betas=(0.9, 0.95),
        epsilon=1e-8,
        weight_decay=0.1,
        max_norm=1.0,
    )
    wanted, norms = reference(replicas)
    for step in range(4):
        for name, p in own.items():
            p.grad = gradient(name, step, mesh.dp.rank)
        norm, (total,) = optimizer.step(0.01, [1.0])
        assert norm == pytest.approx(norms[step], rel=1e-6)
        assert total == stages * replicas
    for name, p in own.items():
        torch.testing.assert_close(p.detach(), wanted[TIED[0] if name in TIED else name])


@pytest.mark.parametrize(("stages", "replicas"), [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3)])
def test_step_equals_torch_on_one_process(tmp_path: Path, stages: int, replicas: int) -> None:
    spawn(stages * replicas, tmp_path, check, stages, replicas)


def check_scatter(rank: int, world: int) -> None:
    dp = meshes.build(1, world, torch.device("cpu")).dp
    gradient_shards.BUCKET_ELEMENTS = 16  # of 21, 4, 5 and 12 elements: three buckets
    torch.manual_seed(0)
    whole = [[torch.randn(s) for s in SHAPES.values()] for _ in range(world)]
    shards = reduce_scatter(whole[rank], dp)
    for i, shard in enumerate(shards):
        total = torch.stack([w[i] for w in whole]).sum(0)
        rows = rows_of(len(total), world, rank)
        torch.testing.assert_close(shard[: rows.stop - rows.start], total[rows.start : rows.stop])
        assert not shard[rows.stop - rows.start :].any()


def check_timeout(rank: int) -> None:
    mesh = meshes.build(2, 1, torch.device("cpu"), timeout_s=77)
    for group in (mesh.world.group, mesh.pp.group, mesh.feed_pipeline):
        options = group._get_backend(torch.device("cpu")).options  # type: ignore[union-attr]
        assert options._timeout.total_seconds() == 77


def test_every_group_has_the_timeout(tmp_path: Path) -> None:
    spawn(2, tmp_path, check_timeout)


@pytest.mark.parametrize("world", [2, 3])
def test_reduce_scatter_deals_out_rows(tmp_path: Path, world: int) -> None:
    spawn(world, tmp_path, check_scatter, world)


def test_a_norm_that_is_not_finite_changes_nothing() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = ShardedAdamW(
        [("w", weight)],
        meshes.Mesh(),
        tied=None,
        betas=(0.9, 0.95),
        epsilon=1e-8,
        weight_decay=0.1,
        max_norm=1.0,
    )
    weight.grad = torch.full((2, 2), float("nan"))
    with pytest.raises(ValueError, match="the gradient norm is nan"):
        optimizer.step(0.01)
    assert weight.eq(1).all()


def test_bfloat16_weights_are_rounded_from_float32_masters() -> None:
    weight = nn.Parameter(torch.ones(4, 4, dtype=torch.bfloat16))
    wide = nn.Parameter(torch.ones(4, 4))
    adam = torch.optim.AdamW([wide], lr=1e-4, weight_decay=0.0)
    optimizer = ShardedAdamW(
        [("w", weight)],
        meshes.Mesh(),
        tied=None,
        betas=(0.9, 0.999),
        epsilon=1e-8,
        weight_decay=0.0,
        max_norm=0.0,
    )
    for step in range(20):  # each step is below the spacing of bfloat16 at 1
        for _ in range(3):  # micro-batches
            g = torch.full((4, 4), 0.5 + 0.01 * step, dtype=torch.bfloat16)
            (weight * g).sum().backward()
            wide.grad = g.float() + (0 if wide.grad is None else wide.grad)
        optimizer.step(1e-4)
        adam.step()
        adam.zero_grad()
    torch.testing.assert_close(optimizer.masters["w"], wide.detach())
    assert torch.equal(weight, wide.bfloat16())


@pytest.mark.parametrize("size", [0, 1, NORM_RUN - 1, NORM_RUN, 3 * NORM_RUN + 5])
def test_square_norm_is_that_of_float64(size: int) -> None:
    x = torch.randn(size, generator=torch.Generator().manual_seed(size))
    assert square_norm(x).item() == pytest.approx(x.double().square().sum().item(), rel=1e-6)
