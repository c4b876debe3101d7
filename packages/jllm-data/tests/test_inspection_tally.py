"""What is counted of rows is what a reader of the same rows gives, counted one by one."""

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from inspection_helpers import decoded
from jllm.data.tools.inspect.documents import documents_of, trained_ids
from jllm.data.tools.inspect.histogram import share
from jllm.data.tools.inspect.statistics import Tally, tally_rows

MAX_LEN, END = 12, 3


@st.composite
def some_rows(draw: st.DrawFn) -> list[dict[str, list[int]]]:
    """Rows of any of the four shapes, with closing documents here and there."""
    bounds, labels = draw(st.booleans()), draw(st.booleans())
    rows = []
    for _ in range(draw(st.integers(1, 5))):
        ids = draw(st.lists(st.integers(0, 5), min_size=2, max_size=MAX_LEN))
        inner = draw(st.sets(st.integers(1, len(ids) - 1), max_size=3)) - {len(ids) - 1}
        if draw(st.booleans()) and inner:
            ids[max(inner) :] = [END] * (len(ids) - max(inner))
        row = {"input_ids": ids}
        if bounds:
            row["cu_seqlens"] = [0, *sorted(inner), len(ids) - 1]
        if labels:
            row["labels"] = [i if draw(st.booleans()) else -100 for i in ids]
        rows.append(row)
    return rows


def naive(rows: list[dict[str, list[int]]], end: int | None) -> dict[str, Any]:
    lengths, fills, trained, untrained = [], [], 0, 0
    for row in rows:
        ids, fill = row["input_ids"], 0
        labels = row.get("labels", ids)
        edges = [*row.get("cu_seqlens", [0, -1])[:-1], len(ids)]
        for a, b in zip(edges, edges[1:], strict=False):
            part = labels[a + 1 : b]
            targets = [t for before, t in zip(ids[a:b], part, strict=False)
                       if t != -100 and ("labels" in row or before != end)]  # fmt: skip
            trained += len(targets)
            marked = "labels" in row and any(t != -100 for t in labels[a:b])
            if end is not None and set(ids[a:b]) == {end} and not marked:
                continue
            lengths.append(b - a)
            fill += b - a
            untrained += not targets
        fills.append(fill)
    return {
        "lengths": Counter(lengths), "fills": Counter(fills), "trained": trained,
        "untrained": untrained,
    }  # fmt: skip


def as_counter(counts: np.ndarray) -> Counter[int]:
    return Counter({n: int(count) for n, count in enumerate(counts) if count})


@settings(max_examples=200)
@given(some_rows(), st.sampled_from([None, END]))
def test_counts_are_the_naive_ones(rows: list[dict[str, list[int]]], end: int | None) -> None:
    tally = tally_rows(decoded(rows, max_len=MAX_LEN, document_end_id=end))
    expected = naive(rows, end)
    assert as_counter(tally.document_lengths) == expected["lengths"]
    assert as_counter(tally.row_lengths) == expected["fills"]
    assert (tally.trained, tally.untrained_documents) == (
        expected["trained"],
        expected["untrained"],
    )
    assert tally.rows == len(rows) and tally.documents == sum(expected["lengths"].values())
    assert tally.ids == sum(n * count for n, count in expected["lengths"].items())


@settings(max_examples=100)
@given(some_rows(), st.sampled_from([None, END]))
def test_trained_ids_are_the_targets_of_the_reader(
    rows: list[dict[str, list[int]]], end: int | None
) -> None:
    read = decoded(rows, max_len=MAX_LEN, document_end_id=end)
    trained = trained_ids(read, documents_of(read))
    for number, row in enumerate(rows):
        tokens, targets = np.empty(MAX_LEN - 1, np.int32), np.empty(MAX_LEN - 1, np.int32)
        read.write(number, tokens, targets)
        begin = int(read.ids.offsets[number])
        mine = trained[begin : begin + len(row["input_ids"])]
        used = len(row["input_ids"]) - 1
        assert not mine[0]
        assert (targets[:used] != -100).tolist() == mine[1:].tolist()


@given(some_rows(), some_rows())
def test_the_tally_of_two_row_groups_is_their_sum(
    one: list[dict[str, list[int]]], other: list[dict[str, list[int]]]
) -> None:
    tallies = [tally_rows(decoded(r, max_len=MAX_LEN, document_end_id=END)) for r in (one, other)]
    total = Tally() + tallies[0] + tallies[1]
    counted = [naive(rows, END) for rows in (one, other)]
    assert total.trained == counted[0]["trained"] + counted[1]["trained"]
    expected = counted[0]["lengths"] + counted[1]["lengths"]
    assert as_counter(total.document_lengths) == expected


def test_a_share_of_nothing_is_nothing() -> None:
    assert share(0, 0) == 0.0 and share(1, 4) == 0.25
