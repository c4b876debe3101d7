"""Garbage collection is put off, and on again whatever happens."""

import gc
from collections.abc import Iterator

import pytest

from jllm.data.runtime.memory import gc_paused


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    gc.enable()


@pytest.mark.parametrize("on", [True, False])
def test_it_is_off_within_and_then_as_it_was(on: bool) -> None:
    (gc.enable if on else gc.disable)()
    inside = []

    @gc_paused()
    def work(fail: bool) -> None:
        inside.append(gc.isenabled())
        if fail:
            raise ValueError

    work(False)
    work(False)
    with pytest.raises(ValueError):
        work(True)
    assert inside == [False] * 3 and gc.isenabled() == on
