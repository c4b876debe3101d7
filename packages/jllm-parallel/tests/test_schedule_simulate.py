"""Simulated times are those of the theory and of an independent longest-path account."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.parallel.schedule.check import check
from jllm.parallel.schedule.generators import GENERATORS, forward_only, gpipe, one_f_one_b
from jllm.parallel.schedule.simulate import simulate, stage_durations
from schedule_reference_helpers import end_times

names = st.sampled_from(sorted(GENERATORS))


@settings(deadline=None, max_examples=60)
@given(names, st.integers(1, 16), st.integers(1, 32), st.integers(1, 9), st.integers(1, 9))
def test_equal_stages_take_the_theoretical_time(
    name: str, stages: int, micro_batches: int, forward: int, backward: int
) -> None:
    durations = stage_durations((float(forward),) * stages, (float(backward),) * stages)
    timeline = simulate(check(GENERATORS[name](stages, micro_batches)), durations)
    steps = micro_batches + stages - 1
    assert timeline.step_time == steps * (forward + backward)
    assert timeline.busy == (micro_batches * (forward + backward),) * stages
    assert timeline.bubble == pytest.approx((stages - 1) / steps, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([gpipe, one_f_one_b, forward_only]),
    st.integers(1, 5),
    st.integers(1, 8),
    st.sampled_from([0.0, 0.5, 3.0]),
    st.randoms(use_true_random=False),
)
def test_uneven_times_are_the_longest_paths(
    generate, stages: int, micro_batches: int, transfer: float, random: Random
) -> None:
    plan = check(generate(stages, micro_batches))
    durations = {
        (rank.rank, action): float(random.randint(0, 9))
        for rank in plan.ranks
        for action in rank.actions
    }
    timeline = simulate(plan, lambda rank, action: durations[rank, action], transfer)
    found = [[span.end for span in spans] for spans in timeline.ranks]
    assert found == end_times(plan, durations, transfer)
    for spans in timeline.ranks:
        assert all(a.end <= b.start for a, b in zip(spans, spans[1:], strict=False))


def test_memory_follows_the_schedule() -> None:
    durations = stage_durations((1.0,) * 4, (2.0,) * 4)
    for schedule, peak in ((one_f_one_b(4, 8), (4, 3, 2, 1)), (gpipe(4, 8), (8, 8, 8, 8))):
        timeline = simulate(check(schedule), durations)
        assert timeline.peak_live == peak
        assert timeline.peak_bytes((10.0, 1.0, 1.0, 2.0)) == (
            10.0 * peak[0],
            1.0 * peak[1],
            1.0 * peak[2],
            2.0 * peak[3],
        )


def test_a_transfer_may_cost_by_message() -> None:
    durations = stage_durations((1.0, 1.0), (1.0, 1.0))
    slow_up = simulate(
        check(gpipe(2, 1)), durations, lambda message: 5.0 if message.kind == "gradient" else 0.5
    )
    assert slow_up.step_time == 1 + 0.5 + 1 + 1 + 5 + 1
