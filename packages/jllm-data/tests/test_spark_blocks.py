"""However a file is cut into blocks, its lines get the numbers that the whole file gives them."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.data.convert.spark.line_numbers import Before, follow, number_lines, summarise
from jllm.data.records.parse import pieces
from jllm.data.records.splits import InputSplit

LINES = st.lists(st.sampled_from([b"", b"\r", b" ", b"a", b"b \r", b"\t\r"]), max_size=12)
LAYOUTS = st.sampled_from(["lines", "paragraphs"])


def joined(lines: list[bytes]) -> bytes:
    """Whole lines, the last one too."""
    return b"".join(line + b"\n" for line in lines)


@settings(max_examples=300, deadline=None)
@given(lines=LINES, cuts=st.lists(st.integers(0, 12), max_size=4), layout=LAYOUTS)
def test_blocks_add_up_to_the_file(lines, cuts, layout):
    bounds = [0, *sorted(min(cut, len(lines)) for cut in cuts), len(lines)]
    before, numbered = Before(), []
    for start, stop in zip(bounds, bounds[1:], strict=False):
        block = lines[start:stop]
        numbered += number_lines(block, layout, before)
        before = follow(before, summarise(block, layout))
    assert numbered == list(number_lines(lines, layout, Before()))
    assert before.lines == len(lines)


@settings(max_examples=300, deadline=None)
@given(lines=LINES, layout=LAYOUTS)
def test_a_record_holds_the_lines_that_a_reader_of_the_file_gives_it(lines, layout):
    whole = InputSplit(path=Path("x"), layout=layout, start=1, stop=1, first_line=1)
    expected = [text for _, text in pieces(whole, joined(lines)) if text.strip()]
    groups: dict[int, list[bytes]] = {}
    for text, (_, record) in zip(lines, number_lines(lines, layout, Before()), strict=True):
        groups.setdefault(record, []).append(text)
    found = [
        [text for _, text in pieces(whole, joined(group)) if text.strip()]
        for _, group in sorted(groups.items())
    ]
    assert [text for group in found for text in group] == expected
    assert all(len(group) <= 1 for group in found)
