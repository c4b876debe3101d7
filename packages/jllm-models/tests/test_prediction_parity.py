"""Multi-token prediction: losses and every gradient are those of a naive second writing."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers.modeling_layers import MtpModel

from jllm.models.config.units import unit_count
from jllm.models.decoder.load import load_stage
from jllm.models.decoder.prediction import Context, ahead
from jllm.models.decoder.stage import Stage
from jllm.models.families import read_config
from jllm.models.layers.documents import Documents
from jllm.models.layers.positions import position_tables
from jllm.models.weights.slices import shapes
from jllm.models.weights.table import copied_slices, is_buffer, weight_table
from prediction_helpers import WEIGHT, Naive, head, trained
from tiny_model_helpers import gradients, random_targets, random_tokens, relative_error

BOUND, LENGTH = 1e-5, 24
BOUNDS = (0, 9, 10, 12, LENGTH)


@pytest.mark.parametrize("bounds", [(0, LENGTH), BOUNDS], ids=["one document", "packed"])
@pytest.mark.parametrize(("depth", "tied"), [(1, False), (2, False), (2, True)])
def test_losses_and_every_gradient_equal_a_naive_second_writing(depth, tied, bounds, tmp_path):
    naive = Naive(depth, tie_word_embeddings=tied)
    naive.save(tmp_path)
    stage = trained(tmp_path)
    tokens, targets = random_tokens(LENGTH), random_targets(LENGTH)
    found = stage(tokens, Documents.from_bounds(bounds), targets)
    found.backward()
    expected = torch.zeros(depth + 1)
    for start, stop in zip(bounds, bounds[1:], strict=False):
        losses, _ = naive.losses(tokens[start:stop], targets[start:stop])
        expected = expected + torch.stack([*losses, *[torch.zeros(())] * (depth + 1 - len(losses))])
    (expected[0] + WEIGHT / depth * expected[1:].sum()).backward()
    assert relative_error(found, expected[0]) <= BOUND  # the loss that is shown is the model's own
    assert relative_error(head(stage).prediction.losses, expected[1:]) <= BOUND
    ours, theirs = gradients(stage), naive.gradients()
    errors = {name: relative_error(ours[name], theirs[name]) for name in theirs}
    assert errors.keys() == ours.keys()
    assert max(errors.values()) <= BOUND, errors


def test_logits_equal_those_of_transformers(tmp_path):
    naive = Naive(1)
    naive.save(tmp_path)
    theirs = MtpModel(naive.main, 1)
    (extra,), (layer,) = naive.extra, theirs.layers
    layer.mtp_block.load_state_dict(extra.block.state_dict())
    for mine, norm in ((extra.enorm, layer.enorm), (extra.hnorm, layer.hnorm)):
        norm.load_state_dict(mine.state_dict())
    layer.post_norm.load_state_dict(extra.shared_head.norm.state_dict())
    layer.eh_proj.load_state_dict(extra.eh_proj.state_dict())
    tokens, documents = random_tokens(LENGTH), Documents.from_bounds([0, LENGTH])
    with torch.no_grad():
        hidden = naive.main.model(input_ids=tokens[None]).last_hidden_state
        positions = torch.arange(1, LENGTH)[None]
        options = {"attention_mask": None, "position_ids": positions, "mtp_cache": None}
        _, expected, _ = theirs(tokens[None, 1:], hidden[:, :-1], **options)
        stage = trained(tmp_path)
        tables = position_tables(stage.config, documents, torch.float32, training=True)
        context = Context(tokens_T=tokens, documents=documents, positions=tables, balance=None)
        unit = head(stage)
        embedded = unit.prediction.embedding[ahead(tokens, documents, 1, fill=0)]
        normed = unit.norm(stage._body(tokens, documents))
        found = unit.prediction.layers[0](normed, embedded, context)[LENGTH - 2] @ unit.weight.T
    assert relative_error(found, expected[0, 0]) <= BOUND


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("prediction")
    Naive(2).save(path)
    return path


def run(stages, tokens, targets):
    """Run stages one after the other; return the loss and all gradients."""
    x, documents = tokens, Documents.from_bounds(BOUNDS)
    for stage in stages[:-1]:
        x = stage(x, documents)
    loss = stages[-1](x, documents, targets, tokens=tokens)
    loss.backward()
    named = (item for stage in stages for item in stage.named_parameters())
    return loss, {name: parameter.grad for name, parameter in named}


@pytest.mark.parametrize("options", [{}, {"recompute_interval": 1}, {"cut": 3}, {"cut": 7}])
def test_cuts_and_recomputation_change_no_bit(options, directory):
    tokens, targets = random_tokens(LENGTH), random_targets(LENGTH)
    loss, expected = run([trained(directory)], tokens, targets)
    cut, options = options.get("cut"), {k: v for k, v in options.items() if k != "cut"}
    parts = [range(cut), range(cut, 8)] if cut else [range(8)]
    again, found = run([trained(directory, part, **options) for part in parts], tokens, targets)
    assert torch.equal(again, loss)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())


def test_without_a_weight_the_modules_are_held_and_nothing_else(directory):
    tokens, targets = random_tokens(LENGTH), random_targets(LENGTH)
    documents = Documents.from_bounds(BOUNDS)
    kept = trained(directory, weight=0.0)
    plain_config = replace(kept.config, prediction=None)
    plain = Stage(plain_config, kept.unit_range)
    load_stage(plain, plain_config, directory)
    losses = [stage(tokens, documents, targets) for stage in (kept, plain)]
    assert torch.equal(*losses)
    losses[0].backward()
    frozen = {n for n, p in kept.named_parameters() if not p.requires_grad}
    assert (
        frozen == kept.tensors().keys() - plain.tensors().keys() - dict(kept.named_buffers()).keys()
    )
    assert frozen
    assert all(kept.get_parameter(name).grad is None for name in frozen)


@pytest.mark.parametrize("weight", [0.0, WEIGHT])
def test_the_files_are_held_byte_for_byte(weight, directory):
    stages = [trained(directory, part, weight) for part in (range(4), range(4, 8))]
    written = {}
    for stage in stages:
        config, units = stage.config, stage.unit_range
        for piece in weight_table(config, units, for_saving=True) + copied_slices(config, units):
            values = stage.tensors()[piece.parameter][piece.here_index]
            whole = written.setdefault(piece.tensor, torch.full(piece.shape, torch.nan))
            assert whole[piece.there_index].isnan().all()
            whole[piece.there_index] = values
    expected = load_file(directory / "model.safetensors")
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in expected.items())


def test_a_directory_without_the_modules_has_none(tmp_path):
    Naive(1).main.save_pretrained(tmp_path)
    assert read_config(tmp_path).prediction is None
    (tmp_path / "model.safetensors").unlink()
    assert read_config(tmp_path).prediction.depth == 1  # as config.json says


def test_modules_that_the_configuration_does_not_name_are_refused(tmp_path):
    naive = Naive(2)
    naive.main.config.num_nextn_predict_layers = 1
    naive.save(tmp_path)
    with pytest.raises(
        ValueError, match="files hold 5 layers, config.json names 3 .* and 1 behind"
    ):
        read_config(tmp_path)


def test_each_position_looks_ahead_within_its_document():
    documents = Documents.from_bounds([0, 3, 4, 6])
    values = torch.arange(10, 16)
    assert ahead(values, documents, 1, fill=-1).tolist() == [11, 12, -1, -1, 15, -1]
    assert ahead(values, documents, 2, fill=-1).tolist() == [12, -1, -1, -1, -1, -1]


def test_the_tables_shapes_and_buffers_are_those_of_the_layers(directory):
    config = read_config(directory)
    table = weight_table(config, range(unit_count(config)), for_saving=True)
    biases = [piece.tensor for piece in table if is_buffer(piece)]
    assert biases == [f"model.layers.{n}.mlp.gate.e_score_correction_bias" for n in (2, 3, 4)]
    assert shapes(table)["model.layers.4.eh_proj.weight"] == (48, 96)
