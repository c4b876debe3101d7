"""Which token is chosen: the likeliest, or one drawn as often as it is likely."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.models.generation.options import Sampling
from jllm.models.generation.sampling import choose, uniform

LOGITS = torch.tensor([0.0, 2.0, -1.0, 2.0, 1.0, -3.0])
logits = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=30).map(torch.tensor)


@given(logits)
@settings(max_examples=50, deadline=None)
def test_greedy_takes_the_first_of_the_likeliest(values):
    assert choose(values, Sampling(), 0) == values.tolist().index(max(values.tolist()))


@given(logits, st.integers(1, 30), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_top_k_draws_from_the_k_likeliest(values, top_k, number):
    token = choose(values, Sampling(temperature=1.0, top_k=top_k), number)
    assert sum(values > values[token]) < top_k


@given(logits, st.floats(0.05, 1), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_top_p_draws_from_the_fewest_tokens_that_have_the_probability(values, top_p, number):
    token = choose(values, Sampling(temperature=1.0, top_p=top_p), number)
    likelier = values.double().softmax(0)[values > values[token]].sum()
    assert likelier < top_p + 1e-12


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_they_are_likely(temperature):
    draws = 4000
    sampling = Sampling(temperature=temperature, seed=5)
    counts = torch.zeros(len(LOGITS))
    for number in range(draws):
        counts[choose(LOGITS, sampling, number)] += 1
    for count, chance in zip(counts, (LOGITS / temperature).softmax(0), strict=True):
        deviation = math.sqrt(draws * chance * (1 - chance))
        assert abs(count - draws * chance) < 4 * deviation


def test_restrictions_keep_the_proportions():
    sampling = Sampling(temperature=1.0, top_k=3, top_p=0.99)
    drawn = [choose(LOGITS, sampling, number) for number in range(2000)]
    assert set(drawn) == {1, 3, 4}
    assert drawn.count(4) / drawn.count(1) == pytest.approx(math.exp(-1), abs=0.05)


def test_the_random_number_is_a_function_of_seed_and_number():
    numbers = [uniform(seed, number) for seed in range(20) for number in range(50)]
    assert len(set(numbers)) == 1000 and all(0 <= number < 1 for number in numbers)
    assert sum(numbers) / 1000 == pytest.approx(0.5, abs=0.03)
    assert uniform(0, 0) == 0.3859926107094097


def test_the_same_seed_draws_the_same_and_another_draws_another():
    first, again, other = (
        [choose(LOGITS, Sampling(temperature=1.0, seed=seed), number) for number in range(30)]
        for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_logits_that_are_no_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match="--dtype float32"):
        choose(torch.tensor([0.0, wrong]), Sampling(), 0)


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"temperature": -0.1}, "--temperature"),
        ({"temperature": float("nan")}, "--temperature"),
        ({"temperature": float("inf")}, "--temperature"),
        ({"temperature": 1.0, "top_k": 0}, "--top_k"),
        ({"temperature": 1.0, "top_p": 0.0}, "--top_p"),
        ({"temperature": 1.0, "top_p": 1.1}, "--top_p"),
        ({"top_k": 5}, "--temperature"),
        ({"top_p": 0.9}, "--temperature"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, flag):
    with pytest.raises(ValueError, match=flag):
        Sampling(**options).check()
