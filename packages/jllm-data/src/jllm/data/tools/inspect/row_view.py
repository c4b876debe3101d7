"""Single rows for display: documents with their origin, and runs of ids as text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jllm.data.reading.dataset import Dataset
from jllm.data.reading.row_decoder import TrainingRows
from jllm.data.reading.row_groups import RowGroupFiles
from jllm.data.storage.paths import relative_name
from jllm.data.tools.inspect.documents import documents_of, trained_ids
from jllm.data.tools.inspect.provenance import Origins, Provenance
from jllm.data.tools.inspect.token_text import TokenText


@dataclass(frozen=True, kw_only=True)
class Run:
    """Consecutive ids that are all trained or not, and all special or not."""

    text: str
    """Decoded text; without a tokenizer, the ids separated by spaces."""
    trained: bool
    special: bool


@dataclass(frozen=True, kw_only=True)
class ShownDocument:
    """One document (or piece) of a row."""

    source: str
    """Empty if the data set does not state it, or for a closing document."""
    record: int | None
    """The record in that source, from 1."""
    ids: int
    trained: int
    closing: bool
    prompt: int | None = None
    """The number of an RL prompt."""
    runs: tuple[Run, ...] = ()

    @property
    def origin(self) -> str:
        """`source:record`, or what is known instead."""
        if self.closing:
            return "closing document"
        known = f"{self.source}:{self.record}" if self.record is not None else "source not kept"
        return known if self.prompt is None else f"{known}, prompt {self.prompt}"


@dataclass(frozen=True, kw_only=True)
class ShownRow:
    """One row."""

    file: str
    index: int
    """The row number in the file, from 0."""
    ids: int
    documents: tuple[ShownDocument, ...]


def show_row(
    rows: TrainingRows, row: int, provenance: Provenance | None, text: TokenText | None,
    *, file: str, index: int, decode: bool = True, prompts: bool = False,
) -> ShownRow:  # fmt: skip
    """Return row `row` of a decoded row group; in `file` it has the number `index`."""
    documents = documents_of(rows, prompts=prompts)
    trained = trained_ids(rows, documents, prompts=prompts)
    numbers = documents.of_row(row)
    records = [None] * len(numbers) if provenance is None else provenance.of_row(row, len(numbers))
    shown = []
    for document, record in zip(numbers, records, strict=True):
        start = int(documents.start[document])
        part = slice(start, start + int(documents.length[document]))
        closing = bool(documents.closing[document])
        shown.append(
            ShownDocument(
                source="" if closing or provenance is None else provenance.source[row],
                record=None if closing else record,
                ids=part.stop - part.start,
                trained=int(np.count_nonzero(trained[part])),
                closing=closing,
                prompt=int(rows.labels.row(row)[0]) if prompts and rows.labels else None,
                runs=runs_of(rows.ids.values[part], trained[part], text) if decode else (),
            )
        )
    return ShownRow(
        file=file,
        index=index,
        ids=int(rows.ids.lengths[row]),
        documents=tuple(shown),
    )


def show_rows(
    dataset: Dataset, places: list[tuple[int, int]], text: TokenText | None, *, decode: bool = True
) -> list[ShownRow]:
    """Return rows given as (row group, row in it), in the given order; reads a row group once."""
    files, origins = RowGroupFiles(dataset), Origins(dataset)
    firsts, shown = first_rows(dataset), {}
    try:
        for number in sorted({number for number, _ in places}):
            rows, provenance = files.read(number), origins.read(number)
            file = relative_name(dataset.row_groups[number].file, dataset.path)
            for row in {row for group, row in places if group == number}:
                shown[number, row] = show_row(
                    rows,
                    row,
                    provenance,
                    text,
                    file=file,
                    index=firsts[number] + row,
                    decode=decode,
                    prompts=dataset.kind == "rl",
                )
    finally:
        files.close()
    return [shown[place] for place in places]


def runs_of(ids: np.ndarray, trained: np.ndarray, text: TokenText | None) -> tuple[Run, ...]:
    """Return a document's ids, split where they start or stop being trained or special."""
    special = np.zeros(len(ids), bool)
    if text is not None:
        special = np.isin(ids, list(text.specials))
    changes = np.flatnonzero((np.diff(trained) != 0) | (np.diff(special) != 0)) + 1
    cuts = [0, *changes.tolist(), len(ids)]
    if text is not None:
        texts = text.pieces(ids, cuts)
    else:
        edges = zip(cuts, cuts[1:], strict=False)
        texts = [" ".join(map(str, ids[a:b].tolist())) + " " for a, b in edges]
    return tuple(
        Run(text=piece, trained=bool(trained[at]), special=bool(special[at]))
        for at, piece in zip(cuts, texts, strict=False)
    )


def spread(dataset: Dataset, count: int) -> list[tuple[int, int]]:
    """Return (row group, row in it) of up to `count` rows, evenly spread over the data set."""
    count = min(count, dataset.num_rows)
    return [locate_number(dataset, number * dataset.num_rows // count) for number in range(count)]


def locate_number(dataset: Dataset, number: int) -> tuple[int, int]:
    """Return (row group, row in it) of row `number` of the data set."""
    ends = np.cumsum(dataset.group_rows)
    group = int(np.searchsorted(ends, number, side="right"))
    return group, int(number - (ends[group] - dataset.group_rows[group]))


def find_row(dataset: Dataset, flag: str) -> tuple[int, int]:
    """Return (row group, row in it) of `FILE:INDEX`.

    Raises ValueError that says which files or rows there are.
    """
    name, _, index = flag.rpartition(":")
    if not name or not index.isdecimal():
        raise ValueError(f"--row {flag}: expected FILE:INDEX, for example part-0.parquet:12")
    groups = [
        number
        for number, group in enumerate(dataset.row_groups)
        if name in (relative_name(group.file, dataset.path), group.file.name, str(group.file))
    ]
    if not groups:
        files = dict.fromkeys(relative_name(one.file, dataset.path) for one in dataset.row_groups)
        raise ValueError(f"--row {flag}: no such file; {dataset.path} has {_few(list(files))}")
    if len({dataset.row_groups[number].file for number in groups}) > 1:
        raise ValueError(f"--row {flag}: several files have this name; give the path in the folder")
    row = int(index)
    for number in groups:
        if row < dataset.row_groups[number].rows:
            return number, row
        row -= dataset.row_groups[number].rows
    raise ValueError(f"--row {flag}: the file has {int(index) - row} rows, numbered from 0")


def first_rows(dataset: Dataset) -> list[int]:
    """Return the number of each row group's first row in its file."""
    firsts, file, at = [], None, 0
    for group in dataset.row_groups:
        at = at if group.file == file else 0
        file = group.file
        firsts.append(at)
        at += group.rows
    return firsts


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
