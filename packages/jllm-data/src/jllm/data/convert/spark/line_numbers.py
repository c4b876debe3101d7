"""Number the records and lines of a file that many tasks read in blocks.

A record is a non-blank line (JSON lines), or a non-blank piece between empty lines (text), as in
`jllm.data.records.parse`. A task sees one block, but neither its neighbours nor their number, so
this takes two passes: summarise each block, add up the summaries in file order, then number the
lines of each block from the state before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jllm.data.records.input_files import RecordLayout


@dataclass(frozen=True, kw_only=True)
class Before:
    """The state before a place in a file, from which numbering goes on."""

    lines: int = 0
    records: int = 0
    """Records that have begun."""
    inside: bool = False
    """The last record has not ended: no empty line since (text only)."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The contribution of a block, independent of what came before it."""

    lines: int
    divided: bool
    """The block holds an empty line (text), or each of its lines is a record."""
    opening: bool
    """There is non-blank text before its first empty line (text only)."""
    records: int
    """Records that begin in the block, excluding the opening one."""
    inside: bool
    """A record continues past the end of the block; valid if `divided`."""


def follow(before: Before, block: Summary) -> Before:
    """Return the state after a block."""
    begun = block.records + (block.opening and not before.inside)
    inside = block.inside if block.divided else before.inside or block.opening
    return Before(lines=before.lines + block.lines, records=before.records + begun, inside=inside)


def number_lines(
    lines: Iterable[bytes], layout: RecordLayout, before: Before
) -> Iterator[tuple[int, int]]:
    """Yield (line number from 1, record number from 0) of each line.

    In JSON lines, a blank line belongs to the record before it. In text, lines between two records
    belong to the one after them.
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
