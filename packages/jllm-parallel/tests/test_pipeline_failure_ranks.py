"""What goes wrong on one rank is said there; the others say what they miss and do not hang."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

import pipeline_ranks_helpers as helpers
from jllm.parallel.pipeline.boundary import TensorSpec
from jllm.parallel.pipeline.executor import run_step
from jllm.parallel.pipeline.module_stage import ModuleStage
from jllm.parallel.pipeline.transport import Transport
from jllm.parallel.schedule.check import check
from jllm.parallel.schedule.generators import one_f_one_b

BOUNDARY = (TensorSpec(shape=(3,), dtype=torch.float32), TensorSpec(shape=(3,), dtype=torch.int64))


def failing(inputs: tuple[Tensor, ...], micro_batch: int) -> tuple[Tensor, ...]:
    if micro_batch == 1:
        raise ValueError("a token id of 99, the vocabulary has 7")
    return (inputs[0].sum(),)


def misshapen(_inputs: tuple[Tensor, ...], _micro_batch: int) -> tuple[Tensor, ...]:
    return torch.zeros(4), torch.zeros(3, dtype=torch.int64)


def right(_inputs: tuple[Tensor, ...], _micro_batch: int) -> tuple[Tensor, ...]:
    return torch.zeros(3, requires_grad=True) * 1, torch.zeros(3, dtype=torch.int64)


def what_is_said(
    rank: int, group: dist.ProcessGroup, first: object, last: object
) -> dict[str, Tensor]:
    """The error that this rank raises, with its notes, as UTF-8."""
    transport = Transport(group, [BOUNDARY], torch.device("cpu"))
    stage = ModuleStage((first, last)[rank])
    try:
        run_step(check(one_f_one_b(2, 3)).ranks[rank], [stage], transport)
    except (ValueError, RuntimeError) as error:
        text = " | ".join([str(error), *getattr(error, "__notes__", [])])
        return {"text": torch.tensor(list(text.encode()), dtype=torch.uint8)}
    raise AssertionError("nothing went wrong")


def texts(tmp_path: Path, first: object, last: object) -> list[str]:
    parts = helpers.spawn(what_is_said, 2, tmp_path, first, last)
    return [bytes(part["text"].tolist()).decode() for part in parts]


def test_the_failing_rank_names_the_action_and_its_neighbour_the_missing_message(
    tmp_path: Path,
) -> None:
    waiting, failed = texts(tmp_path, right, failing)
    assert failed == "a token id of 99, the vocabulary has 7 | in the forward of micro-batch 1"
    assert waiting.startswith("pipeline: failed to exchange the hidden of micro-batch 2 across")
    assert "and the gradient of micro-batch 1 across boundary 0 (rank 1 to rank 0): " in waiting
    assert "If the other rank printed an error of its own, that is the cause" in waiting


def test_an_output_of_another_shape_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    refused, waiting = texts(tmp_path, misshapen, failing)
    assert refused == (
        "the hidden of micro-batch 0 across boundary 0 (rank 0 to rank 1): the stage gave "
        "(float32[4], int64[3]), the boundary carries (float32[3], int64[3])"
    )
    assert waiting.startswith("pipeline: failed to exchange the hidden of micro-batch 0 across")
