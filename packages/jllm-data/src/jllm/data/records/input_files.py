"""Find the input files, and how each is divided into records and its outputs are named.

The file name gives the format: `.jsonl`, `.json` or `.txt`, followed by `.gz` or `.zst` if the file
is compressed; or `.parquet` or `.arrow`. Folders are read recursively; hidden files and folders
(names that begin with "." or "_") and links to folders are skipped. The outputs of `a/b.jsonl` are
called `a__b-…`.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jllm.data.format.file_names import check_output_name
from jllm.data.records.datasets_folder import arrow_files, is_datasets_folder
from jllm.data.records.input_names import CODECS, Codec, base_name
from jllm.data.records.tables import TABLES, holds_ids

RecordLayout = Literal["lines", "paragraphs", "rows"]
"""One JSON value a line, documents separated by empty lines, or rows of a table."""

STDIN = Path("/dev/stdin")
"""The path of standard input (`--input -`)."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One input file."""

    path: Path
    relative: str
    """The name below `--input`, with "/" between parts; for a single file its own name."""
    layout: RecordLayout
    name: str
    """The prefix of its output file names."""
    size: int | None
    """Bytes of the file on disk (compressed); None where unknown (standard input)."""
    codec: Codec | None = None
    """The compression; None: not compressed."""


def find_sources(
    path: Path, *, chats: bool, stdin_name: str = "stdin.jsonl", leave_out: Path | None = None
) -> tuple[list[Source], list[Path]]:
    """Return the input files at `path` (a file, a folder, or - for standard input) and the files
    that were skipped, both sorted by name.

    Chats are JSON lines whatever the file's extension; text is read by extension, `.txt` or
    `.jsonl`. `stdin_name` is the name that standard input is treated as having; `leave_out` is a
    folder to skip (the output folder, if it is inside the input). Raises ValueError where there is
    nothing to read, two outputs would share a name, or a name is not valid for an output.
    """
    if str(path) == "-":
        if "/" in stdin_name or (_form(stdin_name, chats=chats) or ["rows"])[0] == "rows":
            raise ValueError(
                f"--stdin_name {stdin_name}: expected a file name, {_streams(chats)}: it says the "
                "form of what is read and names the outputs"
            )
        return [_source(STDIN, stdin_name, None, chats=chats)], []
    if not path.exists():
        raise ValueError(f"--input {path}: no such file or folder")
    if not path.is_dir():
        if not path.is_file() or _form(path.name, chats=chats) is None:
            raise ValueError(f"--input {path}: expected {_expected(chats)}, a folder, or -")
        return [_source(path, path.name, path.stat().st_size, chats=chats)], []
    found, passed_over = _walk(path, leave_out and leave_out.resolve(), chats=chats)
    if not found:
        raise ValueError(f"--input {path}: the folder holds no file {_expected(chats)}")
    sources = [
        _source(file, file.relative_to(path).as_posix(), file.stat().st_size, chats=chats)
        for file in found
    ]
    ((name, count),) = Counter(source.name for source in sources).most_common(1)
    if count > 1:
        twins = ", ".join(source.relative for source in sources if source.name == name)
        raise ValueError(f"--input {path}: {twins} would have outputs of one name; rename one")
    return sources, passed_over


def layout_of(name: str, *, chats: bool) -> RecordLayout:
    """Return how a file of this name is divided into records, for formats that are byte streams.

    Raises ValueError for other formats (tables).
    """
    form = _form(name, chats=chats)
    if form is None or form[0] == "rows":
        raise ValueError(f"{name}: expected {_streams(chats)}")
    return form[0]


def name_pattern(*, chats: bool) -> str:
    """Return a Hadoop glob pattern that matches the names of input files."""
    suffixes = ",".join(suffix[1:] for suffix in _suffixes(chats))
    return f"*.{{{suffixes}}}{{,{','.join(CODECS)}}}"


def _walk(folder: Path, leave_out: Path | None, *, chats: bool) -> tuple[list[Path], list[Path]]:
    """Return the input files below a folder and the files skipped, both sorted by name."""
    found, passed_over = [], []
    for root, folders, files in os.walk(folder, onerror=_raise):
        here = Path(root)
        if is_datasets_folder(here):
            found += [file for file in arrow_files(here) if file.is_file()]
            folders.clear()
            continue
        linked = [name for name in folders if (here / name).is_symlink()]
        passed_over += [here / name for name in folders + files if name[0] == "_"]
        passed_over += [here / name for name in linked if name[0] not in "._"]
        folders[:] = [
            name
            for name in folders
            if name[0] not in "._" and name not in linked and (here / name).resolve() != leave_out
        ]
        for file in (here / name for name in files if name[0] not in "._"):
            usable = file.is_file() and _form(file.name, chats=chats) is not None
            usable = usable and not (file.suffix == ".parquet" and holds_ids(file))
            (found if usable else passed_over).append(file)
    return sorted(found), sorted(passed_over)


def _raise(error: OSError) -> None:
    raise error


def _form(name: str, *, chats: bool) -> tuple[RecordLayout, Codec | None] | None:
    """Return layout and compression of a file of this name; None if it is not an input file."""
    codec = CODECS.get(Path(name).suffix)
    plain = name.removesuffix(Path(name).suffix) if codec else name
    suffix = Path(plain).suffix
    if suffix in TABLES:
        return None if codec else ("rows", None)
    if suffix == ".txt" and not chats:
        return "paragraphs", codec
    return ("lines", codec) if suffix in _suffixes(chats) else None


def _suffixes(chats: bool) -> tuple[str, ...]:
    return (".jsonl", ".json", ".txt") if chats else (".jsonl", ".txt")


def _expected(chats: bool) -> str:
    return f"{_streams(chats)}, *{', *'.join(TABLES)}"


def _streams(chats: bool) -> str:
    return f"*{', *'.join(_suffixes(chats))} (or compressed, with .gz or .zst behind it)"


def _source(path: Path, relative: str, size: int | None, *, chats: bool) -> Source:
    form = _form(path.name if path != STDIN else relative, chats=chats)
    assert form is not None
    *folders, file = relative.split("/")
    name = "__".join([*folders, base_name(file)])
    check_output_name(name, f"--input {path}")
    return Source(path=path, relative=relative, layout=form[0], name=name, size=size, codec=form[1])
