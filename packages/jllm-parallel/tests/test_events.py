"""The list of what a run does."""

from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.parallel.training.events import Event, events


def listed(first: int, total: int, evaluate_every: int = -1, save_every: int = -1) -> list[Event]:
    return list(
        events(
            first=first,
            total=total,
            evaluate_every=evaluate_every,
            save_every=save_every,
            evaluate=True,
            save=True,
        )
    )


def test_a_run_evaluates_before_and_after_and_saves_at_the_end() -> None:
    kinds = [(e.kind, e.step) for e in listed(0, 2)]
    assert kinds == [
        ("evaluate", 0),
        ("train", 0),
        ("train", 1),
        ("evaluate", 2),
        ("save", 2),
    ]


@given(
    total=st.integers(0, 40),
    first=st.integers(0, 40),
    evaluate_every=st.sampled_from([-1, 1, 3, 7]),
    save_every=st.sampled_from([-1, 1, 4, 10]),
)
@settings(max_examples=200, deadline=None)
def test_a_resumed_run_does_what_was_left(
    total: int, first: int, evaluate_every: int, save_every: int
) -> None:
    first = min(first, total)
    whole = listed(0, total, evaluate_every, save_every)
    left = listed(first, total, evaluate_every, save_every)
    if first == 0:
        assert left == whole
    elif first == total:
        assert left == []
    else:
        assert left == whole[whole.index(Event("train", first)) :]


@given(total=st.integers(1, 50), every=st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_every_kth_step_is_saved_once(total: int, every: int) -> None:
    saved = [e.step for e in listed(0, total, save_every=every) if e.kind == "save"]
    assert saved == sorted({*range(every, total + 1, every), total})
