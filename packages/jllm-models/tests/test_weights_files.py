"""What is written is what the safetensors library writes, on any layout; any slice is read back."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from jllm.models.weights.format import build_header
from jllm.models.weights.manifest import digest_of
from jllm.models.weights.plan import plan_files
from jllm.models.weights.read import load_slices
from jllm.models.weights.slices import assert_cover, whole
from weights_helpers import DTYPES, MODEL_SHAPES, cut_model, fill, write_all


@settings(max_examples=60, deadline=None)
@given(st.data(), MODEL_SHAPES, st.sampled_from(DTYPES))
def test_any_slicing_by_any_ranks_writes_the_librarys_own_bytes(data, shapes, dtype) -> None:
    model = fill(shapes, dtype)
    slices, tensors = data.draw(cut_model(model))
    assert_cover(slices, shapes)
    cut = data.draw(st.integers(0, len(slices)))
    with tempfile.TemporaryDirectory() as name:
        ours, reference = Path(name) / "ours", Path(name) / "reference.safetensors"
        chunks = write_all(ours, shapes, dtype, [(slices[:cut], tensors), (slices[cut:], tensors)])
        save_file(model, reference, metadata={"format": "pt"})
        data = (ours / "model.safetensors").read_bytes()
        assert data == reference.read_bytes()
    assert sum(chunk.size for chunk in chunks) == len(data)
    for chunk in chunks:
        starts = [chunk.offset + number * chunk.stride for number in range(chunk.count)]
        assert digest_of(*(data[s : s + chunk.length] for s in starts)) == chunk.digest


@settings(max_examples=60, deadline=None)
@given(st.data(), MODEL_SHAPES, st.sampled_from(DTYPES), st.integers(1, 600))
def test_shards_hold_the_tensors_and_any_slice_reads_back(data, shapes, dtype, limit) -> None:
    model = fill(shapes, dtype)
    slices, tensors = data.draw(cut_model(model))
    names = {name: name for name in model}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "model"
        everything = [whole(name, name, shape) for name, shape in shapes.items()]
        write_all(directory, shapes, dtype, [(everything, model)], max_shard_bytes=limit)
        for file in directory.glob("*.safetensors"):
            for tensor, value in load_file(file).items():
                assert torch.equal(value, model[names.pop(tensor)])
        assert not names
        found = {name: torch.full_like(tensor, -1) for name, tensor in tensors.items()}
        load_slices(directory, slices, found)
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("stored", DTYPES)
@pytest.mark.parametrize("wanted", DTYPES)
def test_values_are_converted_from_any_float_type_to_any_other(tmp_path, stored, wanted) -> None:
    value = torch.randn(3000, 700, generator=torch.Generator().manual_seed(0))
    piece = whole("p", "t", value.shape)
    write_all(tmp_path / "m", {"t": (3000, 700)}, stored, [([piece], {"p": value})])
    found = torch.empty_like(value, dtype=wanted)
    load_slices(tmp_path / "m", [piece], {"p": found})
    assert torch.equal(found, value.to(stored).to(wanted))


def test_column_slices_wider_than_a_run_and_narrower_are_read_and_written(tmp_path) -> None:
    value = torch.randn(300, 40_000, generator=torch.Generator().manual_seed(0))
    left = whole("p", "t", value.shape)
    narrow = replace(left, there=((0, 300), (5, 25)), here=((0, 300), (0, 20)))
    wide = replace(left, there=((0, 300), (25, 39_000)), here=((0, 300), (0, 38_975)))
    write_all(tmp_path / "m", {"t": (300, 40_000)}, torch.float32, [([left], {"p": value})])
    for piece in (narrow, wide):
        found = torch.empty(piece.extents)
        load_slices(tmp_path / "m", [piece], {"p": found})
        assert torch.equal(found, value[piece.there_index])


def test_a_transposed_parameter_is_written_and_read(tmp_path) -> None:
    value = torch.arange(6.0).reshape(2, 3).T
    piece = whole("p", "t", (3, 2))
    write_all(tmp_path / "m", {"t": (3, 2)}, torch.float32, [([piece], {"p": value})])
    found = torch.zeros(2, 3).T
    load_slices(tmp_path / "m", [piece], {"p": found})
    assert torch.equal(found, value)


def test_headers_with_every_dtype_equal_the_librarys(tmp_path) -> None:
    dtypes = [
        torch.bool, torch.uint8, torch.int8, torch.float8_e5m2, torch.float8_e4m3fn, torch.int16,
        torch.uint16, torch.float16, torch.bfloat16, torch.int32, torch.uint32, torch.float32,
        torch.complex64, torch.float64, torch.int64, torch.uint64,
    ]  # fmt: skip
    tensors = {f'{n}_é"{dtype}': torch.zeros(n, 3).to(dtype) for dtype in dtypes for n in (1, 2)}
    save_file(tensors, tmp_path / "all.safetensors", metadata={"format": "pt"})
    header, _ = build_header({name: (t.dtype, tuple(t.shape)) for name, t in tensors.items()})
    assert (tmp_path / "all.safetensors").read_bytes()[: len(header)] == header


@settings(max_examples=60, deadline=None)
@given(MODEL_SHAPES, st.integers(1, 300), st.randoms())
def test_a_plan_does_not_depend_on_the_order_of_its_tensors(shapes, limit, random) -> None:
    specs = [(name, (torch.float32, shape)) for name, shape in shapes.items()]
    plan = plan_files(dict(specs), limit)
    random.shuffle(specs)
    assert plan_files(dict(specs), limit) == plan
    for file in plan.files:
        assert file.size - len(file.header) <= limit or len(file.entries) == 1


def test_shards_follow_the_order_of_the_layers() -> None:
    names = ["layers.10.w", "layers.2.w", "embed"]
    plan = plan_files({name: (torch.float32, (1,)) for name in names}, 4)
    assert [list(file.entries) for file in plan.files] == [
        ["embed"],
        ["layers.2.w"],
        ["layers.10.w"],
    ]
    assert plan.files[2].name == "model-00003-of-00003.safetensors"
