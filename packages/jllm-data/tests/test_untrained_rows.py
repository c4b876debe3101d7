"""Rows and steps without a trained id are those that the reader gives no target."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.data.reading.dataset import open_dataset
from jllm.data.reading.mixture import open_mixture
from jllm.data.reading.reader import LaneReader
from jllm.data.reading.untrained import first_untrained_step, longest_document, untrained_rows

MAX_LEN = 9
ROW = st.tuples(
    st.lists(st.booleans(), min_size=2, max_size=MAX_LEN), st.sets(st.integers(1, 7), max_size=3)
)


def write(folder: Path, rows: Sequence[tuple[list[bool], set[int]]], *, bounds: bool = True) -> str:
    """Rows of (which ids are trained, where documents begin), three a row group."""
    folder.mkdir()
    columns: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    if bounds:
        columns["cu_seqlens"] = []
    for trained, cuts in rows:
        ids = list(range(len(trained)))
        columns["input_ids"].append(ids)
        columns["labels"].append([i if t else -100 for i, t in zip(ids, trained, strict=True)])
        if bounds:
            last = len(ids) - 1
            columns["cu_seqlens"].append([0, *sorted(c for c in cuts if c < last), last])
    table = pa.table({n: pa.array(v, pa.list_(pa.int32())) for n, v in columns.items()})
    pq.write_table(table, folder / "a.parquet", row_group_size=3)
    info = {"num_samples": len(rows), "max_len": MAX_LEN}
    (folder / "a_info.json").write_text(json.dumps(info))
    return str(folder)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=12), bounds=st.booleans())
def test_untrained_rows_are_those_without_a_target(
    rows: list[tuple[list[bool], set[int]]], bounds: bool
) -> None:
    with TemporaryDirectory() as folder:
        data = open_dataset(write(Path(folder) / "data", rows, bounds=bounds))
        found, largest = untrained_rows(data)
        reader = LaneReader(
            data, seed=0, global_batch_size=len(rows), lanes=range(len(rows)), shuffle=False
        )
        with reader:
            batch = reader.read(0)
    assert np.concatenate(found).tolist() == (batch.targets == -100).all(axis=1).tolist()
    labels = [i for trained, _ in rows for i, t in enumerate(trained) if t]
    assert largest == max(labels, default=-100)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=12), bounds=st.booleans())
def test_the_longest_document_is_that_of_the_bounds(
    rows: list[tuple[list[bool], set[int]]], bounds: bool
) -> None:
    with TemporaryDirectory() as folder:
        data = open_dataset(write(Path(folder) / "data", rows, bounds=bounds))
        longest = longest_document(data)
    edges = [
        [0, *(sorted(c for c in cuts if c < len(t) - 1) if bounds else ()), len(t) - 1]
        for t, cuts in rows
    ]
    assert longest == max(int(np.diff(one).max()) for one in edges)


@settings(max_examples=40, deadline=None)
@given(
    first=st.lists(st.booleans(), min_size=8, max_size=14),
    second=st.none() | st.lists(st.booleans(), min_size=8, max_size=14),
    size=st.integers(1, 4),
    seed=st.integers(0, 9),
    start=st.integers(0, 5),
    shuffle=st.booleans(),
)
def test_the_first_untrained_step_is_the_one_that_the_reader_meets(
    first: list[bool],
    second: list[bool] | None,
    size: int,
    seed: int,
    start: int,
    shuffle: bool,
) -> None:
    steps = range(start, 17)
    with TemporaryDirectory() as folder:
        names = [write(Path(folder) / "a", [([False, t], set()) for t in first])]
        if second is not None:
            names.append(write(Path(folder) / "b", [([False, t], set()) for t in second]))
        data = open_mixture(",".join(f"{name}:{n + 1}" for n, name in enumerate(names)))
        untrained = [untrained_rows(part)[0] for part in data.parts]
        found = first_untrained_step(
            data, untrained, seed=seed, global_batch_size=size, steps=steps, shuffle=shuffle
        )
        reader = LaneReader(
            data, seed=seed, global_batch_size=size, lanes=range(size), shuffle=shuffle
        )
        with reader:
            empty = [step for step in steps if (reader.read(step).targets == -100).all()]
    assert found == (empty[0] if empty else None)
