"""Families without a reference in Transformers equal a naive second implementation, in float64."""

import pytest
import torch
from torch.nn import functional

from jllm.models.layers.documents import Documents
from own_code_helpers import OWN_CODE, write_own_code
from tiny_model_helpers import (
    gradients,
    loaded_stage,
    one_document,
    random_targets,
    random_tokens,
    relative_error,
)

BOUND = 1e-5
BOUNDS = [0, 5, 45, 57, 58, 70, 82]  # one beyond every length that a model knows, equal neighbours


@pytest.fixture(scope="module", params=OWN_CODE)
def case(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    tensors = write_own_code(request.param, directory)
    return directory, tensors, *OWN_CODE[request.param]


def wide(tensors):
    """Return the tensors as leaves in float64."""
    return {name: tensor.double().requires_grad_() for name, tensor in tensors.items()}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("length", [12, 24, 57])
def test_logits_equal_the_naive_function(case, length, training):
    directory, tensors, values, naive = case
    tokens = random_tokens(length)
    with torch.no_grad():
        ours = loaded_stage(directory).train(training).logits(tokens, one_document(length))
        theirs = naive(wide(tensors), values, tokens, training=training)
    assert relative_error(ours, theirs) <= BOUND


@pytest.mark.parametrize("training", [True, False])
def test_loss_and_every_gradient_of_a_packed_row_equal_the_naive_function(case, training):
    directory, tensors, values, naive = case
    stage = loaded_stage(directory).train(training)
    tokens, targets = random_tokens(BOUNDS[-1]), random_targets(BOUNDS[-1])
    loss = stage(tokens, Documents.from_bounds(BOUNDS), targets)
    leaves, reference = wide(tensors), torch.zeros((), dtype=torch.float64)
    for start, stop in zip(BOUNDS, BOUNDS[1:], strict=False):
        logits = naive(leaves, values, tokens[start:stop], training=training)
        reference = reference + functional.cross_entropy(
            logits, targets[start:stop], ignore_index=-100, reduction="sum"
        )
    (loss / 19).backward()
    (reference / 19).backward()
    assert abs(loss.item() - reference.item()) <= BOUND * reference.item()
    ours = gradients(stage)
    errors = {name: relative_error(ours[name], leaf.grad) for name, leaf in leaves.items()}
    assert errors.keys() == ours.keys()
    assert max(errors.values()) <= BOUND, errors


def test_training_mode_of_qwen_stretches_nothing_and_evaluation_does(tmp_path):
    write_own_code("qwen", tmp_path)
    stage, tokens = loaded_stage(tmp_path), random_tokens(40)
    with torch.no_grad():
        trained = stage.train().logits(tokens, one_document(40))
        evaluated = stage.eval().logits(tokens, one_document(40))
        write_own_code("qwen-plain", tmp_path)
        plain = loaded_stage(tmp_path).eval().logits(tokens, one_document(40))
    assert relative_error(evaluated, trained) > 0.01
    assert torch.equal(plain, trained)


def test_a_normalised_head_does_not_know_the_length_of_its_rows(tmp_path):
    write_own_code("baichuan2-13b", tmp_path)
    stage, tokens = loaded_stage(tmp_path), random_tokens(9)
    before = stage.logits(tokens, one_document(9))
    head = stage.get_parameter("units.7.weight")
    head.data *= torch.rand(len(head), 1) + 0.5
    torch.testing.assert_close(stage.logits(tokens, one_document(9)), before)


@pytest.mark.parametrize("name", ["qwen", "internlm2", "baichuan2-13b"])
def test_bfloat16_is_near_fp32(name, tmp_path):
    write_own_code(name, tmp_path)
    tokens, targets = random_tokens(24), random_targets(24)
    exact, rounded = loaded_stage(tmp_path), loaded_stage(tmp_path, dtype=torch.bfloat16)
    losses = [stage(tokens, one_document(24), targets) for stage in (exact, rounded)]
    for loss in losses:
        assert loss.dtype == torch.float32
        loss.backward()
    assert abs(losses[1].item() - losses[0].item()) <= 0.01 * losses[0].item()
    theirs, ours = gradients(exact), gradients(rounded)
    assert max(relative_error(ours[name], theirs[name]) for name in theirs) <= 0.1


def test_a_cut_changes_no_bit_in_evaluation_mode(tmp_path):
    write_own_code("qwen", tmp_path)
    tokens, documents = random_tokens(BOUNDS[-1]), Documents.from_bounds(BOUNDS)
    first, second = (loaded_stage(tmp_path, part).eval() for part in (range(0, 4), range(4, 8)))
    with torch.no_grad():
        whole = loaded_stage(tmp_path).eval().logits(tokens, documents)
        assert torch.equal(second.logits(first(tokens, documents), documents), whole)
