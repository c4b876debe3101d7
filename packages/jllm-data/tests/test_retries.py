"""Trying again: how often, how long, when not."""

import random
import time

import pytest

from jllm.data.storage.retries import RemoteError, RetryPolicy, retry


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits; time passes by them alone."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(waits))
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    return waits


class Flaky:
    """Fails `failures` times, then gives "done"."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.left, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.left:
            raise self.error
        return "done"


def test_the_waits_double_up_to_the_longest(clock: list[float]) -> None:
    work = Flaky(6, OSError("reset"))
    assert retry(work, "u", RetryPolicy(first_wait=1, longest_wait=10, total=100)) == "done"
    assert clock == [1, 2, 4, 8, 10, 10]


def test_after_the_time_limit_the_error_says_what_was_tried(clock: list[float]) -> None:
    work = Flaky(99, TimeoutError())
    with pytest.raises(RemoteError, match=r"^s3://b/x: 4 tries in 7.0 s, at last: TimeoutError$"):
        retry(work, "s3://b/x", RetryPolicy(first_wait=1, total=14))
    assert work.calls == 4


def test_waits_are_spread_between_a_half_and_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    for _ in range(50):
        retry(Flaky(1, OSError()), "u", RetryPolicy(first_wait=1))
    assert 0.5 <= min(waits) < 0.6 < 0.9 < max(waits) <= 1


class Refused(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


def test_who_waits_long_is_told_once(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    retry(Flaky(2, OSError("reset")), "s3://b/x", RetryPolicy(first_wait=1))
    assert not caplog.messages
    retry(Flaky(9, OSError("reset\n\tat Java")), "s3://b/x", RetryPolicy(first_wait=1))
    assert caplog.messages == ["s3://b/x: OSError reset; it is tried again for up to 300 s"]


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (FileNotFoundError("x"), 1),
        (PermissionError("x"), 1),
        (Refused(403), 1),
        (type("NoCredentialsError", (Exception,), {})(), 1),
        (ValueError("x"), 1),
        (Refused(429), 3),
        (Refused(503), 3),
        (ConnectionResetError("x"), 3),
        (TimeoutError(), 3),
    ],
)
def test_what_cannot_get_better_is_not_tried_again(
    clock: list[float], error: Exception, calls: int
) -> None:
    work = Flaky(99, error)
    with pytest.raises(RemoteError, match="1 try" if calls == 1 else f"{calls} tries"):
        retry(work, "u", RetryPolicy(first_wait=1, total=4))
    assert work.calls == calls
