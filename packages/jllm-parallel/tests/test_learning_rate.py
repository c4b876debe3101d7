"""The learning rate against Transformers' schedulers of the same names."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import get_scheduler

from jllm.parallel.optimizer.learning_rate import learning_rate, warmup_steps


def transformers_rates(schedule: str, warmup: int, total: int) -> list[float]:
    """Rates of all steps, with Transformers' warm-up moved on by the one step it spends at 0."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    scheduler = get_scheduler(name, optimizer, warmup, total)
    rates = []
    for step in range(total):
        rates.append(scheduler.get_last_lr()[0])
        if step < warmup:
            rates[-1] += 1e-3 / warmup
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("warmup", [0, 1, 7])
def test_rates_equal_those_of_transformers(schedule: str, warmup: int) -> None:
    ours = [
        learning_rate(s, peak=1e-3, total_steps=30, warmup=warmup, schedule=schedule)
        for s in range(30)
    ]
    assert ours == pytest.approx(transformers_rates(schedule, warmup, 30), rel=1e-12)


@given(
    total=st.integers(1, 10**6),
    warmup=st.one_of(st.floats(0, 0.99), st.integers(1, 1000)),
    schedule=st.sampled_from(["cosine", "linear", "constant"]),
)
@settings(max_examples=100, deadline=None)
def test_rate_rises_to_the_peak_then_never_rises(total: int, warmup: float, schedule: str) -> None:
    rising = min(warmup_steps(warmup, total), total)
    steps = sorted({0, rising - 1, rising, (rising + total) // 2, total - 1} & set(range(total)))
    rates = {
        s: learning_rate(s, peak=2.0, total_steps=total, warmup=warmup, schedule=schedule)
        for s in steps
    }
    assert all(0 < r <= 2.0 for r in rates.values())
    falling = [rates[s] for s in steps if s >= rising]
    assert falling == sorted(falling, reverse=True)
    if rising >= 1 and rising == warmup_steps(warmup, total):
        assert rates[rising - 1] == pytest.approx(2.0)


def test_a_fraction_and_a_number_of_warmup_steps_mean_the_same() -> None:
    assert warmup_steps(0.1, 200) == warmup_steps(20, 200) == 20


def test_unknown_schedule_names_the_flag() -> None:
    with pytest.raises(ValueError, match="--lr_scheduler_type step"):
        learning_rate(5, peak=1.0, total_steps=10, schedule="step")
