"""Input files and the work units they are cut into.

A unit is a byte range that holds whole records: whole lines of a `.jsonl` file, whole documents of
a `.txt` file. Where the cuts lie depends on the file and the two limits alone, never on the number
of processes. Cutting reads the file once at the speed of the disk, and holds one unit in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Layout = Literal["lines", "paragraphs"]
"""One JSON value a line, or documents divided by empty lines."""

UNIT_BYTES = 1 << 20
"""A unit ends at the last record that begins and ends within this many bytes."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One input file."""

    path: Path
    relative: str
    """Its name below `--input`, parts divided by "/"; of a single file its own name."""
    layout: Layout
    name: str
    """What the names of its outputs begin with."""
    size: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Bytes [start, stop) of a file; `first_line` is the number (from 1) of the first of them."""

    path: Path
    layout: Layout
    start: int
    stop: int
    first_line: int


def find_sources(path: Path, *, chats: bool) -> tuple[list[Source], list[Path]]:
    """The input files at `path` (a file or a folder), by name, and the files passed over.

    Chats are JSON lines whatever the file is called; text is read by extension, `.txt` or
    `.jsonl`. Raises ValueError when there is nothing to read or two outputs would have one name.
    """
    if not path.exists():
        raise ValueError(f"--input {path}: no such file or folder")
    suffixes = (".jsonl", ".json", ".txt") if chats else (".jsonl", ".txt")
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
        passed_over = [file for file in files if file.suffix not in suffixes or not file.is_file()]
        files = [file for file in files if file not in passed_over]
        if not files:
            raise ValueError(f"--input {path}: the folder holds no {' or '.join(suffixes)} file")
    else:
        files, passed_over = [path], []
        if not path.is_file() or path.suffix not in suffixes:
            raise ValueError(f"--input {path}: expected a {' or '.join(suffixes)} file or a folder")
    names = [file.stem for file in files]
    for name in names:
        if names.count(name) > 1:
            twins = ", ".join(file.name for file in files if file.stem == name)
            raise ValueError(f"--input {path}: {twins} would have outputs of one name; rename one")
    return [
        Source(
            path=file,
            relative=file.name,
            layout="paragraphs" if file.suffix == ".txt" and not chats else "lines",
            name=file.stem,
            size=file.stat().st_size,
        )
        for file in files
    ], passed_over


def cut_units(source: Source, *, max_lines: int) -> Iterator[Unit]:
    """The units of a file, in order, together all its bytes."""
    start, line = 0, 1
    descriptor = os.open(source.path, os.O_RDONLY)
    try:
        while start < source.size:
            block = _whole_records(descriptor, start, source, UNIT_BYTES)
            block = block[: _after_lines(block, source.layout, max_lines)]
            stop = start + len(block)
            yield Unit(
                path=source.path, layout=source.layout, start=start, stop=stop, first_line=line
            )
            start, line = stop, line + block.count(b"\n")
    finally:
        os.close(descriptor)


def read_unit(unit: Unit) -> bytes:
    """The bytes of a unit. Raises OSError when the file has become shorter meanwhile."""
    descriptor = os.open(unit.path, os.O_RDONLY)
    try:
        data = _read(descriptor, unit.start, unit.stop - unit.start)
    finally:
        os.close(descriptor)
    if len(data) != unit.stop - unit.start:
        raise OSError(f"{unit.path}: the file became shorter while it was read")
    return data


def _whole_records(descriptor: int, start: int, source: Source, max_bytes: int) -> bytes:
    """The records that end within `max_bytes` of `start`, or the first one if it is longer."""
    wanted = max_bytes
    while True:
        block = _read(descriptor, start, min(wanted, source.size - start))
        if start + len(block) >= source.size or not block:
            return block
        cut = _last_end(block, source.layout)
        if cut:
            return block[:cut]
        wanted *= 2


def _last_end(block: bytes, layout: Layout) -> int:
    """The end of the last separator in the block; 0 when there is none."""
    if layout == "lines":
        return block.rfind(b"\n") + 1
    return max(block.rfind(b"\n\n") + 2 if b"\n\n" in block else 0,
               block.rfind(b"\n\r\n") + 3 if b"\n\r\n" in block else 0)  # fmt: skip


def _after_lines(block: bytes, layout: Layout, max_lines: int) -> int:
    """The end of the first separator at or after line `max_lines` of the block."""
    if block.count(b"\n") <= max_lines:
        return len(block)
    at = 0
    for _ in range(max_lines):
        at = block.index(b"\n", at) + 1
    if layout == "lines":
        return at
    ends = [
        found + len(separator)
        for separator in (b"\n\n", b"\n\r\n")
        if (found := block.find(separator, at - 1)) >= 0
    ]
    return min(ends, default=len(block))


def _read(descriptor: int, start: int, count: int) -> bytes:
    parts = []
    while count and (part := os.pread(descriptor, count, start)):
        parts.append(part)
        start, count = start + len(part), count - len(part)
    return b"".join(parts)
