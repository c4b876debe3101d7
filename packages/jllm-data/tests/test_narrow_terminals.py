"""Figures on terminals of any width are shown whole, left out, or on a line of their own."""

import re
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from jllm.data.convert.convert import ConvertedFile
from jllm.data.convert.report import ConversionReport
from jllm.data.format.record_counts import RecordCounts
from jllm.data.records.input_files import Source
from jllm.data.runtime.fields import Field, brief, clock, fit
from jllm.data.runtime.progress import WorkProgress
from jllm.data.runtime.tables import Column, print_table

NUMBERS = ["1,234,567,890", "98.76%", "1,234,567", "12,345,678,901,234", "7"]


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def table(width: int, ranks: Sequence[int], *, terminal: bool = True) -> str:
    out = StringIO()
    columns = [Column(name="file", cells=["folder/some data.jsonl", "b"], folds=8)]
    columns += [
        Column(name=f"column {n}", cells=[number, "0"], rank=rank)
        for n, (number, rank) in enumerate(zip(NUMBERS, ranks, strict=True))
    ]
    print_table(Console(file=out, width=width, force_terminal=terminal), columns)
    return plain(out.getvalue())


@given(
    width=st.integers(10, 150),
    ranks=st.lists(st.integers(0, 3), min_size=5, max_size=5),
    terminal=st.booleans(),
)
def test_a_number_is_whole_or_its_column_is_named_as_left_out(
    width: int, ranks: list[int], terminal: bool
) -> None:
    text = table(width, ranks, terminal=terminal)
    _, _, left_out = " ".join(text.split()).partition("a wider terminal also shows: ")
    for n, (number, rank) in enumerate(zip(NUMBERS, ranks, strict=True)):
        whole = re.search(rf"(?<![\d,.]){re.escape(number)}(?![\d,.])", text)
        assert whole or (terminal and rank and f"column {n}" in left_out), text
    assert "…" not in text
    if terminal and "─" in text:
        assert max(map(len, text.splitlines())) <= width


def test_the_highest_rank_goes_first_and_a_file_gets_everything() -> None:
    ranks = [1, 2, 0, 0, 3]
    assert "also shows" not in table(150, ranks)
    assert "also shows: column 4\n" in table(80, ranks)
    assert "also shows: column 1, column 4\n" in table(65, ranks)
    assert "also shows: column 0, column 1, column 4" in " ".join(table(55, ranks).split())
    assert "also shows" not in table(20, ranks, terminal=False)


FIELDS = [
    Field(text="step 7/100"),
    Field(text="lr 1.00e-04", rank=1),
    Field(text="1,234,567 tokens/s", short="1.23M tok/s"),
    Field(text="norm 1.000", rank=2),
]


def test_figures_are_left_out_shortened_and_put_on_further_lines_in_this_order() -> None:
    assert fit(FIELDS, None) == ["step 7/100  lr 1.00e-04  1,234,567 tokens/s  norm 1.000"]
    assert fit(FIELDS, 55) == fit(FIELDS, None)
    assert fit(FIELDS, 54) == ["step 7/100  lr 1.00e-04  1,234,567 tokens/s"]
    assert fit(FIELDS, 42) == ["step 7/100  1,234,567 tokens/s"]
    assert fit(FIELDS, 25) == ["step 7/100  1.23M tok/s"]
    assert fit(FIELDS, 22) == ["step 7/100", "1.23M tok/s"]


def test_numbers_in_brief_and_times_of_more_than_a_day() -> None:
    assert [brief(n) for n in (12, 999, 12_345, 1_234_567)] == ["12", "999", "12.3k", "1.23M"]
    assert [clock(s) for s in (0, 65, 3600, 31 * 3600)] == [
        "0:00:00",
        "0:01:05",
        "1:00:00",
        "31:00:00",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_conversion_on_a_terminal_shows_its_rate_and_time_left(width: int) -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=width)
    with WorkProgress(console) as progress:
        progress.begin("converting", 1000, "bytes")
        progress.advance(500, "1,234,567,890 records, 123,456 records/s, 12,345,678 tokens/s")
    frames = plain(out.getvalue()).splitlines()
    last = next(line for line in reversed(frames) if "converting" in line)
    assert "converting 50%" in last and "12,345,678 tokens/s" in last
    assert re.search(r"left 0:00:0\d", last) and len(last.rstrip()) <= width


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("terminal", [True, False])
def test_the_account_of_a_large_conversion_breaks_no_number(width: int, terminal: bool) -> None:
    out = StringIO()
    account = RecordCounts(
        read=1_234_567_890, tokens=987_654_321_012, trained_tokens=876_543_210_987
    )
    account.dropped["malformed JSON"] = 1
    source = Source(path=None, relative="folder/data.jsonl", layout="lines", name="data", size=1)  # type: ignore[arg-type]
    converted = ConvertedFile(
        source=source, account=account, rows=123_456_789, row_ids=99, max_len=100, files=(),
        max_num_blocks=9,
    )  # fmt: skip
    with WorkProgress(Console(file=out, force_terminal=terminal, width=width)) as progress:
        reporter = ConversionReport(progress)
        reporter.begin([replace(source, size=None)])
        reporter.close([converted], "out")
    text = plain(out.getvalue())
    for number in ("1,234,567,889", "123,456,789", "987,654,321,012"):
        assert number in text
    for number in ("1,234,567,890", "876,543,210,987"):
        assert number in text or "a wider terminal also shows" in text
