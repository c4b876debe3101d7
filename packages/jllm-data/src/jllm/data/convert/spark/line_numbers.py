"""Which record each line of a file belongs to, when a file is read in blocks by many tasks.

A record is a line that is not blank (JSON lines), or what lies between empty lines and is not all
blank (text), as in `jllm.data.records.parse`. A task sees one block and neither its neighbours nor
their number, so this goes in two passes: each block is summarised, the summaries are added up in
the order of the file, and then each block numbers its lines from what came before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jllm.data.records.input_files import RecordLayout


@dataclass(frozen=True, kw_only=True)
class Before:
    """What came before a place in a file: the state that numbering goes on from."""

    lines: int = 0
    records: int = 0
    """Records that have begun."""
    inside: bool = False
    """The last of them has not ended: no empty line since (text alone)."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a block adds, whatever came before it."""

    lines: int
    divided: bool
    """It holds an empty line (text), or is of lines that are each a record."""
    opening: bool
    """Something that is not blank stands before its first empty line (text alone)."""
    records: int
    """Records that begin in it, the opening one not counted."""
    inside: bool
    """A record goes on at its end, if `divided`."""


def follow(before: Before, block: Summary) -> Before:
    """Return the state after a block."""
    begun = block.records + (block.opening and not before.inside)
    inside = block.inside if block.divided else before.inside or block.opening
    return Before(lines=before.lines + block.lines, records=before.records + begun, inside=inside)


def number_lines(
    lines: Iterable[bytes], layout: RecordLayout, before: Before
) -> Iterator[tuple[int, int]]:
    """(line number from 1, record number from 0) of each line.

    Of lines, a blank one belongs to the record before it. Of text, what lies between two records
    belongs to the one after it.
    """
    line, records, inside = before.lines, before.records, before.inside
    for text in lines:
        line += 1
        if layout == "lines":
            records += bool(text.strip())
            yield line, max(records - 1, 0)
            continue
        if text in (b"", b"\r"):
            inside = False
        elif text.strip() and not inside:
            records, inside = records + 1, True
        yield line, records - inside


def summarise(lines: Iterable[bytes], layout: RecordLayout) -> Summary:
    """Return the summary of a block's lines."""
    count, records, divided, opening, inside = 0, 0, layout == "lines", False, False
    for text in lines:
        count += 1
        if layout == "paragraphs" and text in (b"", b"\r"):
            divided, inside = True, False
        elif text.strip() and not divided:
            opening = True
        elif text.strip() and not inside:
            records += 1
            inside = layout == "paragraphs"
    return Summary(lines=count, divided=divided, opening=opening, records=records, inside=inside)
