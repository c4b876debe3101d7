"""Every family computes what Transformers computes: logits, loss and every gradient, in fp32."""

import pytest
import torch

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
LENGTHS = (24, 57)  # within and beyond max_position_embeddings


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", MODELS)
def test_logits_equal_transformers(name, length, tmp_path):
    model = reference_model(name)
    saved(model, tmp_path)
    tokens = random_tokens(length)
    with torch.no_grad():
        ours = loaded_stage(tmp_path).logits(tokens, one_document(length))
        theirs = model(input_ids=tokens[None]).logits[0]
    assert relative_error(ours, theirs) <= BOUND


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", MODELS)
def test_loss_and_every_gradient_equal_transformers(name, length, tmp_path):
    model = reference_model(name)
    saved(model, tmp_path)
    stage = loaded_stage(tmp_path)
    tokens, targets = random_tokens(length), random_targets(length)
    loss = stage(tokens, one_document(length), targets)
    reference = reference_loss(model, tokens, targets)
    (loss / 19).backward()
    (reference / 19).backward()
    assert abs(loss.item() - reference.item()) <= BOUND * reference.item()
    theirs = reference_gradients(model)
    ours = gradients(stage)
    errors = {name: relative_error(ours[name], theirs[name]) for name in theirs}
    assert errors.keys() == ours.keys()
    assert max(errors.values()) <= BOUND, errors


def test_bfloat16_is_near_fp32(tmp_path):
    saved(reference_model("qwen3"), tmp_path)
    tokens, targets = random_tokens(24), random_targets(24)
    exact, rounded = loaded_stage(tmp_path), loaded_stage(tmp_path, dtype=torch.bfloat16)
    losses = [stage(tokens, one_document(24), targets) for stage in (exact, rounded)]
    for loss in losses:
        assert loss.dtype == torch.float32
        loss.backward()
    assert abs(losses[1].item() - losses[0].item()) <= 0.01 * losses[0].item()
    theirs, ours = gradients(exact), gradients(rounded)
    assert max(relative_error(ours[name], theirs[name]) for name in theirs) <= 0.1


@pytest.mark.parametrize("name", ["qwen2-moe", "qwen3-moe"])
def test_bfloat16_experts_give_nearly_the_loss_of_fp32(name, tmp_path):
    saved(reference_model(name), tmp_path)  # gradients differ where rounding changes a routing
    tokens, targets = random_tokens(57), random_targets(57)
    losses = [
        loaded_stage(tmp_path, dtype=dtype)(tokens, one_document(57), targets).item()
        for dtype in (torch.float32, torch.bfloat16)
    ]
    assert abs(losses[1] - losses[0]) <= 0.01 * losses[0]
