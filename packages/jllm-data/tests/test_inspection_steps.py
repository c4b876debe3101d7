"""The rows of a step are those that the reader gives, and where a row is seen is there again."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspection_helpers import make_chats
from jllm.data.reading import mixture_order
from jllm.data.reading.mixture import DataMixture, open_mixture
from jllm.data.reading.mixture_shares import Shares, whole_weights
from jllm.data.reading.reader import LaneReader
from jllm.data.tokenizer.load import load_tokenizer
from jllm.data.tools.inspect.seen_steps import SeenSteps
from jllm.data.tools.inspect.step import show_step
from jllm.data.tools.inspect.token_text import TokenText
from parquet_helpers import numbered_rows, write_folder


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chats(tmp_path_factory.mktemp("chats"))


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> DataMixture:
    """Two data sets, weights 2 and 1; every id of a row says which it is."""
    folder = tmp_path_factory.mktemp("mixture")
    write_folder(
        folder / "a", {"a.parquet": numbered_rows(30), "b.parquet": numbered_rows(7, first=30)}
    )
    write_folder(folder / "b", {"c.parquet": numbered_rows(11, first=100)})
    return open_mixture(f"{folder / 'a'}:2,{folder / 'b'}:1")


@pytest.mark.parametrize("step", [1, 2, 5, 8, 1001])
def test_a_step_shows_the_rows_that_the_reader_gives(chats: Path, step: int) -> None:
    data = open_mixture(str(chats))
    text = TokenText(load_tokenizer(str(chats / "tokenizer")))
    shown = show_step(data, step, 7, 2, text, decode=True)
    with LaneReader(data, seed=7, global_batch_size=2, lanes=range(2)) as reader:
        batch = reader.read(step - 1)
    assert len(shown.rows) == 2
    for lane, row in enumerate(shown.rows):
        whole = "".join(run.text for document in row.documents for run in document.runs)
        tokens = batch.tokens[lane][: row.ids - 1]
        assert whole.startswith(text.text(tokens)) and row.ids == len(tokens) + 1
        held = int((batch.targets[lane] != -100).sum())
        assert sum(document.trained for document in row.documents) == held
        bounds = np.cumsum([0, *(document.ids for document in row.documents)])[:-1].tolist()
        assert batch.bounds[lane].tolist()[: len(bounds)] == bounds
        assert all(
            document.source == "data.jsonl" and document.record for document in row.documents
        )


@pytest.mark.parametrize("step", [1, 4, 51])
def test_a_step_of_a_mixture_shows_the_rows_that_the_reader_gives(
    numbered: DataMixture, step: int
) -> None:
    shown = show_step(numbered, step, 3, 7, None, decode=True)
    with LaneReader(numbered, seed=3, global_batch_size=7, lanes=range(7)) as reader:
        expected = reader.read(step - 1).tokens[:, 0].tolist()
    found = [int(row.documents[0].runs[0].text.split()[0]) for row in shown.rows]
    assert found == expected
    for row, number in zip(shown.rows, found, strict=True):
        files = {"a/a.parquet": 0, "a/b.parquet": 30, "b/c.parquet": 100}
        assert number == files[row.file] + row.index


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(3, 9), min_size=1, max_size=4),
    st.lists(st.integers(3, 9), min_size=0, max_size=3),
    st.integers(1, 6),
    st.integers(-5, 5),
    st.integers(0, 30),
)
def test_every_row_of_a_step_says_that_it_is_seen_at_that_step(
    one: list[int], other: list[int], size: int, seed: int, step: int
) -> None:
    sets = [np.array(rows) for rows in (one, other) if rows]
    weights = (2, 1)[: len(sets)]
    shares = Shares(weights=weights, global_batch_size=size)
    if any(rows.sum() < lanes for rows, lanes in zip(sets, shares.lanes, strict=True)):
        return
    seen = SeenSteps(sets, shares, seed)
    located = zip(*mixture_order.locate(sets, shares, seed, step, range(size)), strict=True)
    for data_set, group, row in (map(int, place) for place in located):
        steps = [seen.find(data_set, epoch, group, row) for epoch in range(40)]
        assert step in steps


def test_an_epoch_sees_every_row_once_and_says_which_it_leaves_out(numbered: DataMixture) -> None:
    part = numbered.parts[0]
    shares = Shares(weights=whole_weights((Fraction(1),)), global_batch_size=4)
    seen = SeenSteps([part.group_rows], shares, 5)
    rows = [(group, row) for group, held in enumerate(part.group_rows) for row in range(held)]
    steps = [seen.find(0, 1, group, row) for group, row in rows]
    assert sorted(step for step in steps if step is not None) == sorted([*range(9, 18)] * 4)
    assert steps.count(None) == 37 - 36
