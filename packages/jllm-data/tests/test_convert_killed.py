"""A conversion that is killed at any moment goes on and ends with the same bytes."""

import signal
from typing import Any

import pytest

from convert_helpers import snapshot
from jllm.data.runtime.state_file import load_state
from jllm.data.writing.staging import STAGING, STATE
from resume_helpers import CASES, SMALL_STEPS, convert_it, killed
from tokenizer_helpers import save_toy_tokenizer


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Where the conversions are, and what `killed` says of them."""
    folder = tmp_path_factory.mktemp("killed")
    return folder, killed(save_toy_tokenizer(folder / "tokenizer"), folder)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in SMALL_STEPS:
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("case", CASES)
def test_killed_before_any_step_it_goes_on_and_gives_the_same_bytes(
    case: str, killed_once: Any
) -> None:
    """Steps: the writing of rows, closing, syncing, renaming and removing of files."""
    folder, places = killed_once
    expected, reused, inside = snapshot(folder / case / "whole"), 0, 0
    assert sum(name.endswith(".parquet") for name in expected) >= 6
    assert len(places[case]) == 8
    for place in places[case]:
        out = folder / case / str(place)
        state = load_state(out / STAGING / STATE) or {"open": None}
        inside += state["open"] is not None
        notes = convert_it(folder / "tokenizer", folder / case / "in", out, **CASES[case]).notes
        assert snapshot(out) == expected, place
        reused += any("checked and kept" in note or "but for renaming" in note for note in notes)
        assert len(notes) <= 1
    assert reused >= 4 and (inside >= 2 or case != "partitions")


def test_killed_again_and_again_at_random_moments_it_gives_the_same_bytes(killed_once: Any) -> None:
    folder, ends = killed_once[0] / "often", killed_once[1]["often"]
    assert set(ends) <= {signal.SIGPROF, 0} and ends.count(signal.SIGPROF) >= 3
    if 0 not in ends:
        tokenizer = folder.parent / "tokenizer"
        try:
            convert_it(tokenizer, folder / "in", folder / "often", **CASES["chats"])
        except ValueError as refused:  # the last was killed when all had its name already
            assert "holds converted data already" in str(refused)
    assert snapshot(folder / "often") == snapshot(folder / "whole")
