"""Recognize and convert a raw file that is given where a data set is expected.

The first record tells the kind. One digest covers everything that the rows depend on, so an
existing conversion is reused only if it is the one wanted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from jllm.data.convert.config import Raw2IdsConfig, check_config
from jllm.data.format.digests import file_digest
from jllm.data.format.kinds import Kind
from jllm.data.records.datasets_folder import is_datasets_folder
from jllm.data.records.formats.look import forms_of
from jllm.data.records.input_files import CODECS, find_sources
from jllm.data.records.message_formats import is_prompt
from jllm.data.records.parse import pieces
from jllm.data.records.splits import InputSplit, cut_splits, read_split
from jllm.data.records.tables import TABLES, rows_of
from jllm.data.records.unusable import Unusable, shown
from jllm.data.runtime.progress import WorkProgress
from jllm.data.runtime.versions import version_of

_READ = (".jinja", ".json", ".model", ".tiktoken", ".txt")
"""Suffixes of the files in a model folder that may belong to its tokenizer."""
_NOT_READ = (".safetensors.index.json", ".bin.index.json", "generation_config.json")


def is_raw(path: str) -> bool:
    """Return whether a name is a local raw file, or a folder saved by `datasets`.

    Raises ValueError if it looks like a raw file that does not exist.
    """
    place = Path(path)
    if not place.exists() and _suffix(place.name) in (".jsonl", ".json", ".txt", *TABLES):
        raise ValueError(f"{path}: no such file")
    return place.is_file() or (place.is_dir() and is_datasets_folder(place))


def kind_by_look(path: Path) -> Kind:
    """Return the kind of a raw file from its first record: "ft" for chats, "pretrain" for text.

    Raises ValueError, showing the record, if the kind cannot be told.
    """
    if _suffix(path.name) == ".txt":
        return "pretrain"
    line, value = next(_values(path), (0, None))
    if not line:
        raise ValueError(f"{path}: the file is empty, expected at least one record")
    forms = forms_of(value) if isinstance(value, dict) else []
    chat = bool(forms) or (isinstance(value, list) and not is_prompt(value))
    text = isinstance(value, dict) and value.get("text") is not None
    if chat and not text:
        return "ft"
    if text and not chat:
        return "pretrain"
    found = (
        "an RL prompt, which has no answer to train on" if is_prompt(value) else "no such record"
    )
    if chat:
        found = (
            'both a chat and a "text"; convert it with python -m jllm.raw2ids --type ft or pretrain'
        )
    raise ValueError(
        f"{path}:{line}: expected a chat (a list of turns, or messages, conversations, or "
        f'instruction and output) or {{"text": "…"}}; found {found}: {shown(value)}'
    )


def conversion_digest(path: Path, tokenizer: str, max_len: int) -> str:
    """Return a digest of all that the rows depend on: contents, tokenizer, settings, version.

    Reads all bytes of the file (BLAKE3, gigabytes a second) and of the tokenizer's files.
    """
    sources, _ = find_sources(path, chats=kind_by_look(path) == "ft")
    folder = Path(tokenizer).expanduser()
    files = [
        file
        for file in sorted(folder.iterdir())
        if file.is_file() and file.suffix in _READ and not file.name.endswith(_NOT_READ)
    ]
    known = [
        [1, version_of("jllm-data"), max_len],
        [[source.relative, file_digest(source.path)] for source in sources],
        [[file.name, file_digest(file)] for file in files],
    ]
    return hashlib.blake2b(json.dumps(known).encode(), digest_size=16).hexdigest()


def convert_raw(
    path: Path, tokenizer: str, output: Path, max_len: int, progress: WorkProgress
) -> None:
    """Convert a raw file into `output`, replacing what jllm wrote there before.

    Resumes an interrupted conversion. Raises ValueError and OSError as `convert` does.
    """
    from jllm.data.convert.convert import convert
    from jllm.data.convert.report import ConversionReport

    config = Raw2IdsConfig(
        tokenizer=tokenizer,
        input=str(path),
        output=str(output),
        type=kind_by_look(path),
        max_len=max_len,
        clean=True,
    )
    check_config(config)
    report = ConversionReport(progress)
    report.close(convert(config, report), str(output))


def _suffix(name: str) -> str:
    """Return the suffix that gives a file's format: `.jsonl` for a.jsonl.gz."""
    suffix = Path(name).suffix
    return Path(name.removesuffix(suffix)).suffix if suffix in CODECS else suffix


def _values(path: Path) -> Iterator[tuple[int, object]]:
    """Yield (line, JSON value) of each record of a file, reading lazily."""
    for source in find_sources(path, chats=True)[0]:
        for split in cut_splits(source, max_lines=16):
            yield from _rows(split) if split.layout == "rows" else _lines(split)


def _rows(split: InputSplit) -> Iterator[tuple[int, object]]:
    for line, row in enumerate(rows_of(read_split(split), 1 << 30), split.first_line):
        if isinstance(row, Unusable):
            raise ValueError(f"{split.path}:{line}: {row.reason}: {row.detail}")
        yield line, row


def _lines(split: InputSplit) -> Iterator[tuple[int, object]]:
    for line, piece in pieces(split, read_split(split)):
        if piece.strip():
            try:
                yield line, json.loads(piece)
            except (ValueError, RecursionError) as error:
                raise ValueError(
                    f"{split.path}:{line}: malformed JSON: {error}; expected one JSON value a line"
                ) from error
