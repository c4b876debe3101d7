"""Weights of 8 bits with scales of blocks: any slice is the slice of the whole, dequantised."""

import json
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from jllm.models.config.units import unit_count
from jllm.models.families import config_text, read_config
from jllm.models.weights import read
from jllm.models.weights.read import load_slices
from tiny_model_helpers import loaded_stage, reference_model, saved
from weights_helpers import cut_model

BLOCKS = (5, 7)


def quantised(weight, blocks):
    """Return a matrix in 8 bits and the scales of its blocks, one after the other."""
    narrow = torch.empty(weight.shape, dtype=torch.float8_e4m3fn)
    shape = [-(-size // block) for size, block in zip(weight.shape, blocks, strict=True)]
    scales = torch.empty(shape)
    for i in range(shape[0]):
        for j in range(shape[1]):
            place = tuple(
                slice(n * block, n * block + block) for n, block in zip((i, j), blocks, strict=True)
            )
            scales[i, j] = weight[place].abs().max().clamp(min=1e-6) / 448
            narrow[place] = (weight[place] / scales[i, j]).to(torch.float8_e4m3fn)
    return narrow, scales


def naive(narrow, scales, blocks):
    """Return the whole matrix dequantised, number by number."""
    wide = narrow.float()
    for row in range(wide.shape[0]):
        for column in range(wide.shape[1]):
            wide[row, column] *= scales[row // blocks[0], column // blocks[1]].float()
    return wide


def write(directory, tensors, blocks):
    """Write a directory of float8 tensors; return what they are in float32."""
    stored, expected = {}, {}
    for name, tensor in tensors.items():
        if "proj" in name:
            stored[name], scales = quantised(tensor.float(), blocks)
            stored[name + "_scale_inv"] = scales
            expected[name] = naive(stored[name], scales, blocks)
        else:
            stored[name] = expected[name] = tensor
    save_file(stored, directory / "model.safetensors", metadata={"format": "pt"})
    quantization = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": list(blocks)}
    config = directory / "config.json"
    values = json.loads(config.read_text()) if config.exists() else {}
    config.write_text(json.dumps({**values, "quantization_config": quantization}))
    return expected


@settings(max_examples=25, deadline=None)
@given(
    data=st.data(),
    shape=st.tuples(st.integers(1, 23), st.integers(1, 23)),
    blocks=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    buffer=st.sampled_from([64, 4 * 2**20]),
)
def test_any_slice_is_that_of_the_dequantised_whole(data, shape, blocks, buffer):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(shape[0]))
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "BUFFER_BYTES", buffer)
        expected = write(Path(name), {"proj": weight}, blocks)
        slices, tensors = data.draw(cut_model(expected))
        found = {parameter: torch.full_like(held, -1) for parameter, held in tensors.items()}
        load_slices(Path(name), slices, found)
    assert all(torch.equal(found[parameter], held) for parameter, held in tensors.items())


@pytest.fixture
def directory(tmp_path):
    saved(reference_model("deepseek-v3", dtype="bfloat16"), tmp_path)
    expected = write(tmp_path, load_file(tmp_path / "model.safetensors"), BLOCKS)
    (tmp_path / "wide").mkdir()
    save_file(expected, tmp_path / "wide/model.safetensors", metadata={"format": "pt"})
    (tmp_path / "wide/config.json").write_text(config_text(tmp_path, "float32"))
    return tmp_path


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_of_8_bits_is_the_dequantised_one(directory, dtype):
    units = unit_count(read_config(directory))
    for part in (range(units), range(2, 5), range(5, 8)):
        ours = loaded_stage(directory, part, dtype=dtype).tensors()
        wide = loaded_stage(directory / "wide", part, dtype=dtype).tensors()
        assert ours.keys() == wide.keys()
        assert all(torch.equal(ours[name], tensor) for name, tensor in wide.items())


def test_what_is_written_again_is_no_longer_quantised(directory):
    assert read_config(directory).dtype == "bfloat16"
    values = json.loads(config_text(directory, "bfloat16"))
    assert "quantization_config" not in values
    assert values["dtype"] == "bfloat16"


def test_a_missing_scale_is_named(directory):
    tensors = load_file(directory / "model.safetensors")
    name = "model.layers.0.self_attn.o_proj.weight_scale_inv"
    scale = tensors.pop(name)
    save_file(tensors, directory / "model.safetensors")
    with pytest.raises(ValueError, match=f"{name} is missing, must be \\[10, 11\\]"):
        loaded_stage(directory)
    save_file({**tensors, name: scale[1:]}, directory / "model.safetensors")
    with pytest.raises(ValueError, match=f"{name} is of shape \\[9, 11\\], must be \\[10, 11\\]"):
        loaded_stage(directory)


@pytest.mark.parametrize(
    ("quantization", "message"),
    [
        (None, "config.json has no quantization_config"),
        ({"quant_method": "gptq", "bits": 4}, "quant_method 'gptq' .* dequantise the weights"),
        ({"quant_method": "fp8", "fmt": "e5m2"}, "fmt 'e5m2'"),
        ({"quant_method": "fp8"}, "weight_block_size must be .* found None"),
        ({"quant_method": "fp8", "weight_block_size": [128, 0]}, r"found \[128, 0\]"),
    ],
)
def test_other_quantisations_are_refused(directory, quantization, message):
    values = json.loads((directory / "config.json").read_text())
    values["quantization_config"] = quantization
    (directory / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message):
        loaded_stage(directory)
