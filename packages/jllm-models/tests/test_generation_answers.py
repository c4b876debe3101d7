"""Answers: greedy ones are those of Transformers, drawn ones are reproducible, all of them stop."""

import json

import pytest
import torch

from jllm.models.generation.answer import answer, stop_tokens
from jllm.models.generation.decoder import Decoder
from jllm.models.generation.options import Sampling
from tiny_model_helpers import loaded_stage, random_tokens, reference_model, saved

COUNT = 40  # beyond the length that the models know
GREEDY = (
    "llama",
    "llama-tied",
    "llama-llama3",
    "mistral",
    "qwen2",
    "qwen2-tied-yarn",
    "qwen3",
    "olmo2",
    "deepseek-v2-lite",
    "deepseek-v3",
)


@pytest.fixture
def decoder(tmp_path):
    saved(reference_model("qwen3"), tmp_path)
    return Decoder(loaded_stage(tmp_path))


def answered(decoder, sampling, stop=frozenset(), count=COUNT, prompt=(5, 6, 7)):
    return list(answer(decoder, prompt, sampling, max_new_tokens=count, stop=stop))


@pytest.mark.parametrize("length", [1, 9, 40])
@pytest.mark.parametrize("name", GREEDY)
def test_greedy_tokens_equal_those_of_transformers(name, length, tmp_path):
    model = reference_model(name, eos_token_id=None, bos_token_id=None)
    saved(model, tmp_path)
    prompt = random_tokens(length)
    theirs = model.generate(
        prompt[None],
        attention_mask=torch.ones(1, length, dtype=torch.int64),
        max_new_tokens=COUNT,
        do_sample=False,
        pad_token_id=0,
    )
    decoder = Decoder(loaded_stage(tmp_path))
    ours = answered(decoder, Sampling(), prompt=prompt.tolist())
    assert ours == theirs[0, length:].tolist()


def test_a_drawn_answer_is_a_function_of_the_seed(decoder):
    first, again, other = (
        answered(decoder, Sampling(temperature=1.0, top_p=0.9, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_longer_answer_begins_with_the_shorter_one(decoder):
    sampling = Sampling(temperature=1.0)
    long, short = (answered(decoder, sampling, count=count) for count in (30, 10))
    assert len(long) == 30 and long[:10] == short


def test_an_answer_ends_with_the_first_stop_token(decoder):
    free = answered(decoder, Sampling(temperature=1.0))
    stop = {free[7], free[12]}
    first = min(free.index(token) for token in stop)
    assert answered(decoder, Sampling(temperature=1.0), frozenset(stop)) == free[: first + 1]


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        ({"eos_token_id": [3, 4]}, {"eos_token_id": 5}, {3, 4}),
        ({"eos_token_id": 3}, {}, {3}),
        ({}, {"eos_token_id": 5}, {5}),
        (None, {"eos_token_id": [5, 6]}, {5, 6}),
        (None, {"eos_token_id": None}, set()),
    ],
)
def test_stop_tokens_are_those_of_the_directory(generation, config, expected, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    assert stop_tokens(tmp_path) == expected


@pytest.mark.parametrize("given", ["</s>", True, [1, None], 2.0])
def test_stop_tokens_that_are_no_ids_are_refused(given, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": given}))
    with pytest.raises(ValueError, match=r"config\.json: eos_token_id must be a whole number"):
        stop_tokens(tmp_path)
