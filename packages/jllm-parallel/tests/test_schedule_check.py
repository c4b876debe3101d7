"""Every generated schedule is proved right, and every defect that is put into one is named."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.parallel.schedule import execution_model
from jllm.parallel.schedule.actions import Action, Schedule
from jllm.parallel.schedule.check import check
from jllm.parallel.schedule.generators import GENERATORS, forward_only, gpipe, one_f_one_b
from jllm.parallel.schedule.plan import plan
from schedule_reference_helpers import deadlocks

names = st.sampled_from(sorted(GENERATORS))
F, B = (lambda m: Action(kind="F", micro_batch=m)), (lambda m: Action(kind="B", micro_batch=m))


def with_rank(schedule: Schedule, rank: int, actions: list[Action]) -> Schedule:
    ranks = list(schedule.ranks)
    ranks[rank] = tuple(actions)
    return replace(schedule, ranks=tuple(ranks))


@settings(deadline=None, max_examples=150)
@given(names, st.integers(1, 16), st.integers(1, 64))
def test_generated_schedules_pass(name: str, stages: int, micro_batches: int) -> None:
    planned = check(GENERATORS[name](stages, micro_batches))
    wanted = {f(m) for f in (F, B) for m in range(micro_batches)}
    assert all(set(rank.actions) == wanted for rank in planned.ranks)
    assert all(len(rank.actions) == 2 * micro_batches for rank in planned.ranks)


def test_the_largest_schedules_pass() -> None:
    for generate in (*GENERATORS.values(), forward_only):
        check(generate(16, 64))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 16), st.integers(1, 64))
def test_one_f_one_b_holds_at_most_stages_minus_rank_micro_batches(stages: int, n: int) -> None:
    schedule = one_f_one_b(stages, n)
    assert schedule.live_bound == tuple(min(stages - r, n) for r in range(stages))
    check(schedule)
    for rank in range(stages):
        tighter = [bound - (r == rank) for r, bound in enumerate(schedule.live_bound)]
        with pytest.raises(
            ValueError, match=f"rank {rank}: activations of {min(stages - rank, n)}"
        ):
            check(replace(schedule, live_bound=tuple(tighter)))


@settings(deadline=None, max_examples=60)
@given(names, st.integers(1, 6), st.integers(2, 10), st.randoms(use_true_random=False))
def test_a_dropped_duplicated_or_swapped_action_is_caught(
    name: str, stages: int, micro_batches: int, random: Random
) -> None:
    schedule = GENERATORS[name](stages, micro_batches)
    rank = random.randrange(stages)
    actions = list(schedule.ranks[rank])
    i = random.randrange(len(actions))
    same_kind = [j for j in range(len(actions)) if j != i and actions[j].kind == actions[i].kind]
    j = random.choice(same_kind)
    swapped = list(actions)
    swapped[i], swapped[j] = swapped[j], swapped[i]
    overwritten = list(actions)
    overwritten[i] = actions[j]
    for mutant in (
        actions[:i] + actions[i + 1 :],
        actions[:j] + [actions[i]] + actions[j:],
        [*actions, F(micro_batches)],
        overwritten,
        swapped,
    ):
        with pytest.raises(ValueError, match=f"schedule {schedule.name}, rank {rank}: [FB]"):
            check(with_rank(schedule, rank, mutant))


def interleaving(micro_batches: int, random: Random) -> list[Action]:
    """Forwards in order, backwards in order, each after its forward; otherwise at random."""
    actions, forwards, backwards = [], 0, 0
    while backwards < micro_batches:
        if forwards < micro_batches and (forwards == backwards or random.random() < 0.5):
            actions.append(F(forwards))
            forwards += 1
        else:
            actions.append(B(backwards))
            backwards += 1
    return actions


@settings(deadline=None, max_examples=200)
@given(st.integers(2, 4), st.integers(1, 5), st.randoms(use_true_random=False))
def test_deadlocks_are_found_exactly_where_the_waiting_graph_has_a_cycle(
    stages: int, micro_batches: int, random: Random
) -> None:
    ranks = tuple(tuple(interleaving(micro_batches, random)) for _ in range(stages))
    schedule = replace(gpipe(stages, micro_batches), ranks=ranks)
    if deadlocks(plan(schedule)):
        with pytest.raises(execution_model.Deadlock, match="rank . waits for the "):
            check(schedule)
    else:
        check(schedule)


def test_a_deadlock_names_who_waits_for_what() -> None:
    eager = [F(0), B(0), F(1), B(1)]
    with pytest.raises(execution_model.Deadlock) as caught:
        check(with_rank(gpipe(2, 2), 0, eager))
    assert str(caught.value) == (
        "schedule GPipe: the ranks wait for each other: "
        "rank 0 waits for the gradient of micro-batch 0 across boundary 0 (rank 1 to rank 0); "
        "rank 1 waits for the hidden of micro-batch 1 across boundary 0 (rank 0 to rank 1)"
    )


def test_a_backward_before_its_forward_is_named() -> None:
    with pytest.raises(ValueError, match="rank 0: B0 comes before its forward"):
        check(with_rank(gpipe(1, 1), 0, [B(0), F(0)]))


def test_a_missing_bound_is_named() -> None:
    with pytest.raises(ValueError, match="1 activation bounds for 2 ranks"):
        check(replace(gpipe(2, 2), live_bound=(2,)))


@pytest.mark.parametrize("generate", [gpipe, one_f_one_b, forward_only])
def test_empty_pipelines_and_steps_are_refused(generate) -> None:
    with pytest.raises(ValueError, match="--pipe_parallel_size 0"):
        generate(0, 1)
    with pytest.raises(ValueError, match="0 micro-batches.*--global_batch_size"):
        generate(1, 0)
