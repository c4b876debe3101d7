"""Best fit: nothing lost, nothing too long, as full as the obvious algorithm."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.data.packing.batches import DocumentBatch, PackedRows, join_rows
from jllm.data.packing.best_fit import best_fit_decreasing
from jllm.data.packing.exact_fit import pack_exactly
from jllm.data.packing.packer import Packer, assign_rows

LENGTHS = st.integers(2, 40).flatmap(
    lambda capacity: st.tuples(
        st.just(capacity), st.lists(st.integers(2, capacity), min_size=1, max_size=60)
    )
)


def naive_best_fit(lengths: list[int], capacity: int) -> list[int]:
    """What is left in each row, when each document goes into the fullest row with room."""
    left: list[int] = []
    for length in sorted(lengths, reverse=True):
        fits = [(room, row) for row, room in enumerate(left) if room >= length]
        if fits:
            left[min(fits)[1]] -= length
        else:
            left.append(capacity - length)
    return sorted(left)


def documents_of(lengths: list[int], *, masked: bool = True) -> DocumentBatch:
    """Documents whose ids tell document and place: 1000 · document + place."""
    ids = [1000 * number + place for number, n in enumerate(lengths) for place in range(n)]
    return DocumentBatch(
        ids=np.array(ids, np.int32),
        lengths=np.array(lengths, np.int64),
        records=np.arange(len(lengths)),
        loss_mask=np.array([i % 1000 > 0 for i in ids], bool) if masked else None,
    )


def rows_of(block: PackedRows) -> list[tuple[list[int], list[int]]]:
    """(ids, cu_seqlens) of each row; every segment's record is the document it is of."""
    ids = np.split(block.ids, np.cumsum(block.row_lengths)[:-1])
    bounds = np.split(block.bounds, np.cumsum(block.bound_counts)[:-1])
    rows = [(i.tolist(), b.tolist()) for i, b in zip(ids, bounds, strict=True)]
    documents = [i[bound] // 1000 for i, b in rows for bound in b[:-1]]
    assert block.records.tolist() == documents
    return rows


@settings(max_examples=300, deadline=None)
@given(case=LENGTHS)
def test_rows_are_those_of_the_obvious_best_fit(case: tuple[int, list[int]]) -> None:
    capacity, lengths = case
    row = best_fit_decreasing(np.array(lengths), capacity)
    filled = np.bincount(row, lengths).astype(int)
    assert sorted((capacity - filled).tolist()) == naive_best_fit(lengths, capacity)
    assert set(row.tolist()) == set(range(len(filled)))


@settings(max_examples=200, deadline=None)
@given(case=LENGTHS, cut=st.integers(0, 60))
def test_every_document_is_in_one_row_once(case: tuple[int, list[int]], cut: int) -> None:
    capacity, lengths = case
    documents, packer = documents_of(lengths), Packer(capacity)
    blocks = [*packer.add(documents.slice(0, min(cut, len(lengths))))]
    blocks += packer.add(documents.slice(min(cut, len(lengths)), len(lengths)))
    block = join_rows([*blocks, *packer.finish()])
    found = []
    for ids, bounds in rows_of(block):
        assert len(ids) <= capacity and bounds[0] == 0 and bounds[-1] == len(ids) - 1
        edges = [*bounds[:-1], len(ids)]
        pieces = [ids[a:b] for a, b in zip(edges, edges[1:], strict=False)]
        numbers = [piece[0] // 1000 for piece in pieces]
        assert numbers == sorted(numbers)
        found += pieces
    expected = [[1000 * n + place for place in range(length)] for n, length in enumerate(lengths)]
    assert sorted(found) == expected
    assert block.labels is not None
    assert block.labels.tolist() == [i if i % 1000 else -100 for i in block.ids.tolist()]


def test_windows_do_not_depend_on_how_documents_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jllm.data.packing.packer.WINDOW_IDS", 1)
    lengths = np.random.default_rng(0).integers(2, 60, 3000).tolist()
    documents, found = documents_of(lengths), []
    for count in (1, 100, 777, 3000):
        packer, blocks = Packer(64), []
        for at in range(0, 3000, count):
            blocks += packer.add(documents.slice(at, min(at + count, 3000)))
        assert len(blocks) > 3
        block = join_rows([*blocks, *packer.finish()])
        assert sorted(block.ids.tolist()) == documents.ids.tolist()
        first = [ids[0] for ids, _ in rows_of(blocks[0])]
        assert first == sorted(first)
        found.append({name: None if v is None else v.tolist() for name, v in vars(block).items()})
    assert found == [found[0]] * 4


@settings(max_examples=300, deadline=None)
@given(case=LENGTHS)
def test_exact_partners_break_no_rule(case: tuple[int, list[int]]) -> None:
    capacity, lengths = case
    row = pack_exactly(np.array(lengths), capacity)
    filled = np.bincount(row, lengths)
    assert filled.max() <= capacity and set(row.tolist()) == set(range(len(filled)))
    assigned = assign_rows(np.array(lengths), capacity)
    assert assigned.max() <= best_fit_decreasing(np.array(lengths), capacity).max()


def rows_packed(lengths: np.ndarray, capacity: int) -> int:
    """Rows that documents become as a conversion sends them: in units, packed in windows."""
    packer, rows = Packer(capacity), 0
    for unit in np.array_split(lengths, max(1, len(lengths) // 1000)):
        ids = np.zeros(unit.sum(), np.int32)
        documents = DocumentBatch(
            ids=ids, lengths=unit.astype(np.int64), records=np.zeros(len(unit), np.int64)
        )
        rows += sum(len(block) for block in packer.add(documents))
    return rows + sum(len(block) for block in packer.finish())


@pytest.mark.parametrize("shortest", [0, 60])
def test_log_normal_lengths_fill_99_9_percent(shortest: int) -> None:
    """With 60 ids that every document begins with, there is nothing short to fill gaps with."""
    lengths = np.random.default_rng(1).lognormal(5.0, 1.0, 100_000).astype(int)
    lengths = (shortest + lengths).clip(2, 2049)
    assert lengths.sum() / (rows_packed(lengths, 2049) * 2049) >= 0.999


def test_few_documents_of_middling_lengths_need_no_more_rows_than_their_ids_do() -> None:
    """Like the quickstart's chats: 3 730 documents of 56 to 359 ids, rows of 513."""
    lengths = (56 + np.random.default_rng(2).lognormal(3.6, 0.8, 3730).astype(int)).clip(56, 359)
    assert rows_packed(lengths, 513) == -(-lengths.sum() // 513)
    assert best_fit_decreasing(lengths, 513).max() + 1 > 1.01 * rows_packed(lengths, 513)


def test_documents_that_cannot_be_packed_do_not_wait_for_ever() -> None:
    packer, packed = Packer(16), 0
    long = documents_of([9] * 1000, masked=False)
    for _ in range(1500):
        packed += sum(len(block) for block in packer.add(long))
    assert packer._waiting_ids < 2 * (4 << 20)
    assert packed + sum(len(block) for block in packer.finish()) == 1_500_000
