"""Slices are cut, restricted to rows and turned into runs without losing an element."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.models.weights.slices import Slice, assert_cover, rows, runs, shapes, span, split, whole
from weights_helpers import cut_boxes

SHAPES = st.lists(st.integers(0, 6), max_size=4).map(tuple)


@st.composite
def slices(draw: st.DrawFn) -> Slice:
    """Draw a box of a random tensor, held at the origin of a local parameter."""
    shape = draw(SHAPES)
    box = draw(st.sampled_from(draw(cut_boxes(shape))))
    here = tuple((0, stop - start) for start, stop in box)
    return Slice(parameter="p", tensor="t", shape=shape, there=box, here=here)


@settings(max_examples=150, deadline=None)
@given(slices())
def test_runs_are_the_elements_of_the_slice_in_row_major_order(piece: Slice) -> None:
    numbers = torch.arange(math.prod(piece.shape)).reshape(piece.shape)
    found = [
        run.offset + number * run.stride + element
        for run in runs(piece)
        for number in range(run.count)
        for element in range(run.length)
    ]
    assert found == numbers[piece.there_index].reshape(-1).tolist()


@settings(max_examples=100, deadline=None)
@given(slices())
def test_a_box_of_a_matrix_is_one_run_record(piece: Slice) -> None:
    if len(piece.shape) <= 2:
        assert len(list(runs(piece))) <= 1


@settings(max_examples=150, deadline=None)
@given(slices(), st.integers(1, 40))
def test_split_pieces_are_bounded_ordered_and_complete(piece: Slice, limit: int) -> None:
    numbers = torch.arange(math.prod(piece.shape)).reshape(piece.shape)
    local = numbers[piece.there_index]
    parts = list(split(piece, limit))
    assert all(0 < span(part) <= limit for part in parts)
    there = [x for part in parts for x in numbers[part.there_index].reshape(-1).tolist()]
    here = [x for part in parts for x in local[part.here_index].reshape(-1).tolist()]
    assert there == here == local.reshape(-1).tolist()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_rows_find_what_a_shard_of_the_parameter_holds(data: st.DataObject) -> None:
    q, kv, width = (data.draw(st.integers(1, 5)) for _ in range(3))
    fused = [
        Slice(parameter="qkv", tensor="q", shape=(q, width), there=((0, q), (0, width)),
              here=((0, q), (0, width))),
        Slice(parameter="qkv", tensor="kv", shape=(9, width), there=((2, 2 + kv), (0, width)),
              here=((q, q + kv), (0, width))),
        whole("other", "o", (3,)),
    ]  # fmt: skip
    start = data.draw(st.integers(0, q + kv))
    stop = data.draw(st.integers(start, q + kv))
    tensors = {name: torch.rand(shape) for name, shape in shapes(fused).items()}
    parameter = torch.cat([tensors["q"], tensors["kv"][2 : 2 + kv]])
    shard = torch.full((stop - start, width), -1.0)
    for piece in rows(fused, "qkv", start, stop):
        shard[piece.here_index] = tensors[piece.tensor][piece.there_index]
    assert torch.equal(shard, parameter[start:stop])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_cover_holds_for_every_cutting_and_fails_without_a_piece(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple))
    boxes = [box for box in data.draw(cut_boxes(shape)) if all(a < b for a, b in box)]
    pieces = [
        Slice(parameter="p", tensor="t", shape=shape, there=box,
              here=tuple((0, b - a) for a, b in box))
        for box in boxes
    ]  # fmt: skip
    assert_cover(pieces, {"t": shape})
    with pytest.raises(AssertionError, match="elements are held"):
        assert_cover(pieces[1:], {"t": shape})
    with pytest.raises(AssertionError, match="held twice"):
        assert_cover([*pieces, pieces[0]], {"t": shape})


def test_cover_refuses_a_tensor_that_the_model_does_not_have() -> None:
    with pytest.raises(AssertionError, match="no tensor of the model"):
        assert_cover([whole("p", "t", (2,))], {})


def test_a_slice_with_unequal_extents_is_refused() -> None:
    with pytest.raises(AssertionError):
        Slice(parameter="p", tensor="t", shape=(4,), there=((0, 2),), here=((0, 3),))
    with pytest.raises(AssertionError):
        Slice(parameter="p", tensor="t", shape=(4,), there=((3, 5),), here=((0, 2),))
