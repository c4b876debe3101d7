"""A small model with Adam's states, shared out to ranks by rows, for the tests of checkpoints."""

import filecmp
import json
from pathlib import Path

import torch
from torch import Tensor

from jllm.models.weights.read import load_slices
from jllm.models.weights.slices import Slice, rows, whole
from jllm.parallel.checkpoint.contents import CheckpointContents, Held
from jllm.parallel.checkpoint.load import load_states

SHAPES = {
    "model.embed_tokens.weight": (23, 8),
    "model.layers.0.w": (9, 8),
    "model.layers.10.w": (8, 5),
    "model.layers.2.w": (7, 8),
    "model.norm.weight": (8,),
}
FILES = {"config.json": b'{"model_type": "llama"}\n', "tokenizer.json": b"{}"}
STATE = {
    "seed": 7, "global_batch_size": 4, "data_digest": "d", "tokenizer_digest": "t", "flags": {},
}  # fmt: skip


def values(kind: str, step: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return the tensors of one kind (weights, exp_avg, …) after a step."""
    generator = torch.Generator().manual_seed(1000 * step + sum(kind.encode()))
    return {name: torch.randn(shape, generator=generator).to(dtype)
            for name, shape in SHAPES.items()}  # fmt: skip


def share(rank: int, size: int) -> dict[str, tuple[int, int]]:
    """Return the rows of each tensor that a rank holds; ranks may hold none of a short tensor."""
    bounds = {name: -(-shape[0] // size) for name, shape in SHAPES.items()}
    return {
        name: (min(rank * each, SHAPES[name][0]), min((rank + 1) * each, SHAPES[name][0]))
        for name, each in bounds.items()
    }


def share_slices(rank: int, size: int) -> tuple[Slice, ...]:
    """Return the slices of a rank's share; parameters are named like their tensors."""
    return tuple(
        piece
        for name, (start, stop) in share(rank, size).items()
        for piece in rows([whole(name, name, SHAPES[name])], name, start, stop)
    )


def held(kind: str, step: int, rank: int, size: int, dtype: torch.dtype = torch.float32) -> Held:
    """Return a rank's share of one kind of tensors."""
    parts = {n: values(kind, step)[n][a:b].clone() for n, (a, b) in share(rank, size).items()}
    return Held(slices=share_slices(rank, size), tensors=parts, dtype=dtype)


def contents(
    step: int, rank: int = 0, size: int = 1, dtype: torch.dtype = torch.float32
) -> CheckpointContents:
    """Return what a rank saves after a step."""
    kinds = ("exp_avg", "exp_avg_sq") + ("master",) * (dtype != torch.float32)
    return CheckpointContents(
        step=step,
        shapes=SHAPES,
        weights=held("master", step, rank, size, dtype),
        optimizer={kind: held(kind, step, rank, size) for kind in kinds},
        state={"step": step, **STATE},
        files=FILES if rank == 0 else {},
    )


def model_only(step: int) -> CheckpointContents:
    """Return what --only_ckpt_model saves."""
    weights = held("master", step, 0, 1)
    return CheckpointContents(step=step, shapes=SHAPES, weights=weights, files=FILES)


def assert_loads(path: Path, step: int, rank: int = 0, size: int = 1) -> None:
    """Assert that a rank of any layout reads its own shares of everything from a checkpoint."""
    slices, part = share_slices(rank, size), share(rank, size)
    for kind in ("weights", "exp_avg", "exp_avg_sq", "master"):
        found = {name: torch.zeros(b - a, *SHAPES[name][1:]) for name, (a, b) in part.items()}
        if kind == "weights":
            load_slices(path, slices, found)
            dtype = getattr(
                torch, json.loads((path / "config.json").read_bytes()).get("dtype", "float32")
            )
        else:
            load_states(path, {kind: (slices, found)})
            dtype = torch.float32
        expected = values("master" if kind == "weights" else kind, step)
        for name, (a, b) in part.items():
            assert torch.equal(found[name], expected[name][a:b].to(dtype).float()), (kind, name)


def same_files(one: Path, other: Path, ignore: tuple[str, ...] = ("manifest.json",)) -> bool:
    """Say whether two checkpoints consist of the same files with the same bytes."""
    names = [
        {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()} - set(ignore)
        for root in (one, other)
    ]
    if names[0] != names[1]:
        return False
    return not any(filecmp.cmpfiles(one, other, names[0], shallow=False)[1:])
