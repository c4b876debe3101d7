"""Random tensors and random ways to cut them into slices, for the tests of the weights' storage."""

import math
from pathlib import Path

import torch
from hypothesis import strategies as st
from torch import Tensor

from jllm.models.weights.manifest import Chunk
from jllm.models.weights.plan import plan_files
from jllm.models.weights.slices import Box, Slice
from jllm.models.weights.write import create_files, write_slices

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
MODEL_SHAPES = st.dictionaries(
    st.from_regex(r"layers\.(0|2|10)\.[a-c]\.weight", fullmatch=True),
    st.lists(st.integers(0, 7), max_size=4).map(tuple),
    min_size=1,
    max_size=6,
)


def fill(shapes: dict[str, tuple[int, ...]], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return tensors whose values differ from each other and are exact in every dtype."""
    return {
        name: (torch.arange(math.prod(shape)) % 251 + number).reshape(shape).to(dtype)
        for number, (name, shape) in enumerate(sorted(shapes.items()))
    }


@st.composite
def cut_boxes(draw: st.DrawFn, shape: tuple[int, ...]) -> list[Box]:
    """Draw disjoint boxes that cover a tensor, by repeated cuts across random dimensions."""
    boxes: list[Box] = [tuple((0, size) for size in shape)]
    for _ in range(draw(st.integers(0, 4)) if shape else 0):
        box = boxes.pop(draw(st.integers(0, len(boxes) - 1)))
        dim = draw(st.integers(0, len(shape) - 1))
        start, stop = box[dim]
        middle = draw(st.integers(start, stop))
        boxes.append((*box[:dim], (start, middle), *box[dim + 1 :]))
        boxes.append((*box[:dim], (middle, stop), *box[dim + 1 :]))
    return draw(st.permutations(boxes))


@st.composite
def cut_model(draw: st.DrawFn, model: dict[str, Tensor]) -> tuple[list[Slice], dict[str, Tensor]]:
    """Draw a cutting of tensors; every box lies within a larger local parameter of its own."""
    slices, held = [], {}
    for name, tensor in model.items():
        for number, box in enumerate(draw(cut_boxes(tuple(tensor.shape)))):
            margin = draw(st.integers(0, 2))
            here = tuple((margin, margin + stop - start) for start, stop in box)
            piece = Slice(
                parameter=f"{name}/{number}",
                tensor=name,
                shape=tuple(tensor.shape),
                there=box,
                here=here,
            )
            held[piece.parameter] = torch.full([2 * margin + n for n in piece.extents], -1.0)
            held[piece.parameter][piece.here_index] = tensor[piece.there_index].float()
            slices.append(piece)
    return slices, held


def write_all(
    directory: Path,
    shapes: dict[str, tuple[int, ...]],
    dtype: torch.dtype,
    parts: list[tuple[list[Slice], dict[str, Tensor]]],
    max_shard_bytes: int = 2**40,
) -> list[Chunk]:
    """Write a model as several ranks would, one after the other."""
    directory.mkdir()
    plan = plan_files({name: (dtype, shape) for name, shape in shapes.items()}, max_shard_bytes)
    chunks = create_files(directory, plan)
    for slices, tensors in parts:
        chunks += write_slices(directory, plan, slices, tensors)
    return chunks
