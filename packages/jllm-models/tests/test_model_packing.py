"""Packed rows give the loss and the gradients of their documents one by one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.models.layers.documents import Documents
from tiny_model_helpers import (
    MODELS,
    gradients,
    loaded_stage,
    one_document,
    random_targets,
    random_tokens,
    reference_gradients,
    reference_loss,
    reference_model,
    relative_error,
    saved,
)

BOUND = 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_packed_row_equals_transformers_document_by_document(name, tmp_path):
    bounds = [0, 5, 45, 57, 58, 70, 82]  # one beyond max_position_embeddings, equal neighbours
    model = reference_model(name)
    saved(model, tmp_path)
    tokens, targets = random_tokens(82), random_targets(82)
    stage = loaded_stage(tmp_path)
    loss = stage(tokens, Documents.from_bounds(bounds), targets)
    loss.backward()
    total = 0.0
    for start, stop in zip(bounds, bounds[1:], strict=False):
        fresh = reference_model(name)  # `dynamic` remembers the longest document it has seen
        reference = reference_loss(fresh, tokens[start:stop], targets[start:stop])
        reference.backward()
        total += reference.item()
        for parameter, other in zip(model.parameters(), fresh.parameters(), strict=True):
            parameter.grad = other.grad if parameter.grad is None else parameter.grad + other.grad
    assert abs(loss.item() - total) <= BOUND * total
    ours = gradients(stage)
    theirs = reference_gradients(model)
    errors = {name: relative_error(ours[name], theirs[name]) for name in theirs}
    assert max(errors.values()) <= BOUND, errors


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model")
    saved(reference_model("qwen3"), directory)
    return loaded_stage(directory)


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_any_packing_equals_its_documents(stage, lengths, seed):
    bounds = torch.tensor([0, *lengths]).cumsum(0).tolist()
    tokens, targets = random_tokens(bounds[-1], seed), random_targets(bounds[-1], seed + 1)
    stage.zero_grad()
    packed = stage(tokens, Documents.from_bounds(bounds), targets)
    packed.backward()
    ours = gradients(stage)
    stage.zero_grad()
    total = torch.zeros(())
    for start, stop in zip(bounds, bounds[1:], strict=False):
        alone = stage(tokens[start:stop], one_document(stop - start), targets[start:stop])
        alone.backward()
        total += alone.detach()
    torch.testing.assert_close(packed.detach(), total, rtol=1e-6, atol=1e-5)
    for name, theirs in gradients(stage).items():
        torch.testing.assert_close(ours[name], theirs, rtol=1e-4, atol=1e-4)


def test_a_document_is_not_seen_from_another(stage):
    documents = Documents.from_bounds([0, 9, 21])
    tokens = random_tokens(21)
    before = stage.logits(tokens, documents)
    tokens[:9] = random_tokens(9, seed=5)
    after = stage.logits(tokens, documents)
    assert torch.equal(before[9:], after[9:])
    assert not torch.equal(before[:9], after[:9])


@pytest.mark.parametrize("bounds", [[0], [1, 4], [0, 4, 4], [0, 5, 3], []])
def test_bounds_that_are_none_are_refused(bounds):
    with pytest.raises(ValueError, match="document bounds must rise strictly"):
        Documents.from_bounds(bounds)


def test_positions_begin_anew_in_every_document():
    documents = Documents.from_bounds([0, 3, 4, 6])
    assert documents.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert documents.lengths == (3, 1, 2)
    assert documents.max_length == 3
    assert documents.cu_seqlens.dtype == torch.int32
