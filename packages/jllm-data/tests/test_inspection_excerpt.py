"""Excerpts keep to their length and keep every border; what is shown cannot steer a terminal."""

import re

from hypothesis import given
from hypothesis import strategies as st

from jllm.data.runtime.printable import escape_control_chars
from jllm.data.tools.inspect.row_view import Run
from jllm.data.tools.inspect.truncate import LEAST, excerpt

RUNS = st.lists(
    st.builds(Run, text=st.text("ab", max_size=90), trained=st.booleans(), special=st.booleans()),
    max_size=6,
)
GAP = re.compile(" … ([0-9,]+) characters … ")


@given(RUNS, st.integers(0, 300))
def test_an_excerpt_is_as_long_as_asked_and_says_what_it_leaves_out(
    runs: list[Run], chars: int
) -> None:
    total = sum(len(run.text) for run in runs)
    shown = excerpt(runs, chars)
    gaps = [int(found[1]) for run in shown if (found := GAP.fullmatch(run.text))]
    kept = [run for run in shown if not GAP.fullmatch(run.text)]
    assert sum(len(run.text) for run in kept) + sum(gaps) == total
    if not chars or total <= chars:
        assert shown == runs
    else:
        assert chars - len(runs) <= sum(len(run.text) for run in kept) <= chars


@given(RUNS, st.integers(1, 300))
def test_every_run_is_seen_where_there_is_room(runs: list[Run], chars: int) -> None:
    if sum(min(LEAST, len(run.text)) for run in runs) > chars:
        return
    shown = [run for run in excerpt(runs, chars) if not GAP.fullmatch(run.text)]
    for run in runs:
        mine = shown.pop(0)
        assert (mine.trained, mine.special) == (run.trained, run.special)
        assert run.text.startswith(mine.text) and len(mine.text) >= min(len(run.text), LEAST // 2)
        if mine.text != run.text:
            assert run.text.endswith(shown.pop(0).text)
    assert not shown


@given(st.text())
def test_no_control_character_but_tab_and_line_end_is_left(text: str) -> None:
    shown = escape_control_chars(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert escape_control_chars("a\udc80") == "a⟨U+DC80⟩"
    assert escape_control_chars("a\tb\n中 é") == "a\tb\n中 é"
