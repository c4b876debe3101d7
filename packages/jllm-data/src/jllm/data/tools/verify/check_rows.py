"""Check the rules for rows on all rows of a row group at once.

A finding is a sentence that names file, row group and row: one for each broken rule, about the
first row that breaks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from jllm.data.format.schema import (
    CU_SEQLENS,
    FIELDS,
    IGNORE_INDEX,
    INPUT_IDS,
    LABELS,
    NO_RECORD,
    RECORDS,
    SOURCE,
)
from jllm.data.reading.row_decoder import (
    Ragged,
    check_bounds,
    check_ids,
    check_labels,
    check_numbers,
    ragged,
)


@dataclass(frozen=True, kw_only=True)
class RowRules:
    """The parameters of the rules that depend on the data set."""

    kind: str
    max_len: int
    document_end_id: int | None
    vocabulary: int | None
    """All ids must be below it; None without a tokenizer."""
    stacked: bool
    """Every row must have exactly max_len ids."""


def check_rows(
    columns: Mapping[str, pa.ChunkedArray], rules: RowRules, where: str
) -> Iterator[str]:
    """Yield the findings of one row group."""
    lists: dict[str, Ragged] = {}
    for name in (*FIELDS, RECORDS):
        if name in columns:
            try:
                lists[name] = ragged(columns[name], f"{where}, {name}")
            except ValueError as error:
                yield str(error)
    if INPUT_IDS not in lists:
        return
    ids, labels, bounds = lists[INPUT_IDS], lists.get(LABELS), lists.get(CU_SEQLENS)
    prompts = rules.kind == "rl"
    yield from _raised(check_ids, ids, 1 if prompts else 2, rules.max_len, where)
    yield from _check_lengths_and_vocabulary(ids, rules, where)
    if prompts:
        yield from _raised(check_numbers, labels, where)
    elif labels is not None:
        yield from _raised(check_labels, ids, labels, where)
    if bounds is not None:
        wrong = list(_raised(check_bounds, ids, bounds, where))
        yield from wrong
        if wrong:
            lists.pop(RECORDS, None)  # without bounds, the number of documents is unknown
        elif labels is not None and np.array_equal(labels.offsets, ids.offsets):
            yield from _check_first_labels(labels, bounds, where)
    yield from _check_provenance(columns, lists, where)


def count_targets(columns: Mapping[str, pa.ChunkedArray], rules: RowRules) -> int:
    """Return the number of positions with a target, in rows without findings."""
    if LABELS in columns:
        return int((ragged(columns[LABELS], LABELS).values != IGNORE_INDEX).sum())
    ids = ragged(columns[INPUT_IDS], INPUT_IDS)
    counted = np.ones(len(ids.values), dtype=bool)
    counted[ids.offsets[1:] - 1] = False
    if rules.document_end_id is not None:
        counted &= ids.values != rules.document_end_id
    if CU_SEQLENS in columns:
        bounds = ragged(columns[CU_SEQLENS], CU_SEQLENS)
        starts = _document_starts(ids.offsets, bounds)
        counted[starts[starts > 0] - 1] = False
    return int(counted.sum())


def _raised(check: Callable[..., None], *arguments: Any) -> Iterator[str]:
    try:
        check(*arguments)
    except ValueError as error:
        yield str(error)


def _first(wrong: np.ndarray, sentence: Callable[[int], str]) -> Iterator[str]:
    """Yield the `sentence` for the first wrong row, and the number of further ones."""
    if wrong.any():
        more = int(wrong.sum()) - 1
        yield sentence(int(np.argmax(wrong))) + (f" (and {more} more rows)" if more else "")


def _check_lengths_and_vocabulary(ids: Ragged, rules: RowRules, where: str) -> Iterator[str]:
    if rules.stacked:
        yield from _first(
            ids.lengths != rules.max_len,
            lambda row: (
                f"{where}, row {row}: input_ids has {ids.lengths[row]} ids, expected "
                f"exactly max_len = {rules.max_len}, for the rows are stacked"
            ),
        )
    if rules.vocabulary is not None:
        for place in np.flatnonzero(ids.values >= rules.vocabulary)[:1].tolist():
            yield (
                f"{where}, row {ids.row_of(place)}: input_ids holds {ids.values[place]}, the "
                f"tokenizer beside the files has ids below {rules.vocabulary}"
            )


def _check_first_labels(labels: Ragged, bounds: Ragged, where: str) -> Iterator[str]:
    starts = _document_starts(labels.offsets, bounds)
    for place in starts[labels.values[starts] != IGNORE_INDEX][:1].tolist():
        row = labels.row_of(place)
        yield (
            f"{where}, row {row}: labels[{place - labels.offsets[row]}], the first of a document, "
            f"is {labels.values[place]}, expected {IGNORE_INDEX}: nothing stands before it"
        )


def _document_starts(offsets: np.ndarray, bounds: Ragged) -> np.ndarray:
    """Return where documents start among the flat ids, int64; `offsets`: of the rows' ids."""
    rows = np.repeat(offsets[:-1], bounds.lengths)
    ends = np.zeros(len(rows), dtype=bool)
    ends[bounds.offsets[1:] - 1] = True
    return (rows + bounds.values)[~ends]


def _check_provenance(
    columns: Mapping[str, pa.ChunkedArray], lists: Mapping[str, Ragged], where: str
) -> Iterator[str]:
    if SOURCE in columns and columns[SOURCE].null_count:
        missing = columns[SOURCE].is_null().to_numpy()
        yield from _first(
            missing, lambda row: f"{where}, row {row}: source is null, expected a file's name"
        )
    records, bounds = lists.get(RECORDS), lists.get(CU_SEQLENS)
    if records is None:
        return
    if bounds is None:
        documents = np.ones(len(records.lengths), dtype=np.int64)
    else:
        documents = bounds.lengths - 1
    yield from _first(
        records.lengths != documents,
        lambda row: (
            f"{where}, row {row}: records has {records.lengths[row]} entries, expected one "
            f"for each of the {documents[row]} documents"
        ),
    )
    for place in np.flatnonzero((records.values < 1) & (records.values != NO_RECORD))[:1].tolist():
        yield (
            f"{where}, row {records.row_of(place)}: records holds {records.values[place]}, "
            f"expected record numbers from 1, or {NO_RECORD}"
        )
