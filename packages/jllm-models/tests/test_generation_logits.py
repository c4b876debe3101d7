"""Token by token with a cache, the logits are those of a full forward pass."""

import pytest
import torch

from jllm.models.generation.decoder import Decoder
from own_code_helpers import OWN_CODE, write_model
from tiny_model_helpers import (
    MODELS,
    loaded_stage,
    one_document,
    random_tokens,
    relative_error,
)

BOUND = 1e-5
LENGTH = 57  # beyond every window and every length that a model knows


@pytest.mark.parametrize("prompt", [1, 5, 40])
@pytest.mark.parametrize("name", [*MODELS, *OWN_CODE])
def test_logits_after_each_token_equal_the_full_forward(name, prompt, tmp_path):
    write_model(name, tmp_path)
    tokens = random_tokens(LENGTH)
    full, decoder = loaded_stage(tmp_path).eval(), Decoder(loaded_stage(tmp_path))
    logits = decoder.start(tokens[:prompt].tolist())
    for length in range(prompt, LENGTH):
        with torch.no_grad():
            expected = full.logits(tokens[:length], one_document(length))[-1]
        assert relative_error(logits, expected) <= BOUND, length
        logits = decoder.append(int(tokens[length]))


@pytest.mark.parametrize("name", ["llama-dynamic", "mistral-window", "baichuan-13b"])
def test_a_new_document_knows_nothing_of_the_one_before(name, tmp_path):
    write_model(name, tmp_path)
    first, second = random_tokens(40, seed=1).tolist(), random_tokens(9, seed=2).tolist()
    decoder = Decoder(loaded_stage(tmp_path))
    alone = [decoder.start(second), decoder.append(3)]
    decoder.start(first)
    decoder.append(5)
    again = [decoder.start(second), decoder.append(3)]
    assert all(map(torch.equal, again, alone))


@pytest.mark.parametrize("name", [*MODELS, *OWN_CODE])
def test_the_prompt_is_the_forward_pass_of_training(name, tmp_path):
    write_model(name, tmp_path)
    tokens = random_tokens(24)
    with torch.no_grad():
        expected = loaded_stage(tmp_path).eval().logits(tokens, one_document(24), last=1)
    assert torch.equal(Decoder(loaded_stage(tmp_path)).start(tokens.tolist()), expected[0])


def test_a_window_keeps_no_more_than_its_queries_can_see(tmp_path):
    write_model("mistral-window", tmp_path)
    stage = loaded_stage(tmp_path)
    decoder = Decoder(stage)
    decoder.start([1])
    for token in random_tokens(200).tolist():
        decoder.append(token)
    assert stage.units["1"].attend._room.shape[2] <= 2 * 7


def test_bfloat16_is_near_fp32(tmp_path):
    write_model("qwen3", tmp_path)
    exact, rounded = (
        Decoder(loaded_stage(tmp_path, dtype=dtype)) for dtype in (torch.float32, torch.bfloat16)
    )
    for decoder in (exact, rounded):
        decoder.start([1, 2, 3])
    expected, found = exact.append(4), rounded.append(4)
    assert found.dtype == torch.float32
    assert relative_error(found, expected) <= 0.05
