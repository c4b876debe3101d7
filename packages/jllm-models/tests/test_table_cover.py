"""However a model is cut, the weight table holds it exactly once, byte for byte."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from jllm.models.config.units import unit_count
from jllm.models.decoder.stage import Stage
from jllm.models.families import read_config
from jllm.models.weights.slices import assert_cover, shapes
from jllm.models.weights.table import weight_table
from own_code_helpers import OWN_CODE, write_model
from tiny_model_helpers import MODELS, loaded_stage, reference_model, saved


@pytest.fixture(scope="module", params=[*MODELS, *OWN_CODE])
def directory(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param)
    write_model(request.param, path)
    return path


def file_tensors(directory):
    """Return the tensors of the directory's file by name."""
    with safe_open(directory / "model.safetensors", framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_cut_holds_the_whole_model_exactly_once(directory, data):
    config = read_config(directory)
    units = unit_count(config)
    cuts = sorted({0, units, *data.draw(st.sets(st.integers(1, units - 1)))})
    parts = [range(a, b) for a, b in zip(cuts, cuts[1:], strict=False)]
    slices = [piece for part in parts for piece in weight_table(config, part, for_saving=True)]
    expected = {name: tuple(tensor.shape) for name, tensor in file_tensors(directory).items()}
    assert shapes(slices) == expected
    assert_cover(slices, expected)


def test_every_parameter_is_filled_exactly_once(directory):
    config = read_config(directory)
    units = range(unit_count(config))
    stage = Stage(config, units, device="meta")
    tensors = stage.tensors()
    covered = dict.fromkeys(tensors, 0)
    for piece in weight_table(config, units):
        parameter = tensors[piece.parameter]
        assert all(
            stop <= size for (_, stop), size in zip(piece.here, parameter.shape, strict=True)
        )
        assert piece.here[0][0] * parameter[0].numel() == covered[piece.parameter]  # in order
        covered[piece.parameter] += parameter[piece.here_index].numel()
    assert covered == {name: tensor.numel() for name, tensor in tensors.items()}


def test_weights_round_trip_byte_for_byte(directory):
    stages = [loaded_stage(directory, part) for part in (range(0, 4), range(4, 8))]
    written = {}
    for stage in stages:
        for piece in weight_table(stage.config, stage.unit_range, for_saving=True):
            values = stage.tensors()[piece.parameter][piece.here_index]
            whole = written.setdefault(piece.tensor, torch.full(piece.shape, torch.nan))
            whole[piece.there_index] = values
    expected = {name: tensor.numpy().tobytes() for name, tensor in file_tensors(directory).items()}
    assert {name: whole.numpy().tobytes() for name, whole in written.items()} == expected


def test_a_tied_head_is_loaded_from_the_embedding(tmp_path):
    config = saved(reference_model("llama-tied"), tmp_path)
    head = range(unit_count(config) - 1, unit_count(config))
    names = {piece.tensor for piece in weight_table(config, head)}
    assert names == {"model.norm.weight", "model.embed_tokens.weight"}
    assert {p.tensor for p in weight_table(config, head, for_saving=True)} == {"model.norm.weight"}


def test_missing_tensors_are_named(tmp_path):
    saved(reference_model("llama"), tmp_path / "small")
    saved(reference_model("llama", num_hidden_layers=4), tmp_path / "large")
    (tmp_path / "large/config.json").replace(tmp_path / "small/config.json")
    with pytest.raises(ValueError, match="model.layers.3.input_layernorm.weight") as caught:
        loaded_stage(tmp_path / "small")
    assert "missing" in str(caught.value)


def test_tensors_of_another_shape_are_named(tmp_path):
    saved(reference_model("llama"), tmp_path / "small")
    saved(reference_model("llama", intermediate_size=96), tmp_path / "large")
    (tmp_path / "large/config.json").replace(tmp_path / "small/config.json")
    with pytest.raises(ValueError, match=r"gate_proj.*\(?80, 48\)?"):
        loaded_stage(tmp_path / "small")
