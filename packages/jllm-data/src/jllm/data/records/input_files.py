"""Input files: which there are, how each is divided into records, and what its outputs are called.

A name says the form: `.jsonl`, `.json` or `.txt`, and `.gz` or `.zst` behind it where the file is
compressed, or `.parquet` or `.arrow`. A folder is read with all folders in it; hidden files and
folders (names that begin with "." or "_") and links to folders are passed over. The outputs of
`a/b.jsonl` are called `a__b-…`.
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
"""One JSON value a line, documents divided by empty lines, or rows of a table."""

STDIN = Path("/dev/stdin")
"""The path of standard input (`--input -`)."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One input file."""

    path: Path
    relative: str
    """Its name below `--input`, parts divided by "/"; of a single file its own name."""
    layout: RecordLayout
    name: str
    """What the names of its outputs begin with."""
    size: int | None
    """Bytes of the file as it lies; None where nobody knows (standard input)."""
    codec: Codec | None = None
    """How it is compressed."""


def find_sources(
    path: Path, *, chats: bool, stdin_name: str = "stdin.jsonl", leave_out: Path | None = None
) -> tuple[list[Source], list[Path]]:
    """Return the input files at `path` (a file, a folder, or - for standard input) by name, and the
    rest.

    Chats are JSON lines whatever the file is called; text is read by extension, `.txt` or
    `.jsonl`. `stdin_name` stands for the name that standard input lacks; `leave_out` is a folder
    that is not input (the output, where it lies inside). Raises ValueError when there is nothing to
    read, two outputs would have one name, or a name cannot be one of an output.
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
    """Return how a file of this name is divided into records, where these are pieces of its bytes.

    Raises ValueError where they are not.
    """
    form = _form(name, chats=chats)
    if form is None or form[0] == "rows":
        raise ValueError(f"{name}: expected {_streams(chats)}")
    return form[0]


def name_pattern(*, chats: bool) -> str:
    """Return what the names of input files match, as Hadoop writes patterns."""
    suffixes = ",".join(suffix[1:] for suffix in _suffixes(chats))
    return f"*.{{{suffixes}}}{{,{','.join(CODECS)}}}"


def _walk(folder: Path, leave_out: Path | None, *, chats: bool) -> tuple[list[Path], list[Path]]:
    """Return the input files below a folder and what is passed over, both by name."""
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
    """Return how a file of this name is read; None: not at all."""
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
