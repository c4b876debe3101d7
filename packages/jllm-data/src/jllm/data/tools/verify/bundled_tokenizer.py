"""The tokenizer that a data set keeps (`tokenizer_files`), found beside its rows, also by URL."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jllm.data.format.digests import file_digest
from jllm.data.format.file_names import (
    DIGESTS,
    STATED_TOKENIZER,
    TOKENIZER_FILES,
    TOKENIZER_FOLDER,
    VOCABULARY,
)
from jllm.data.format.sealed_json import broken_seal
from jllm.data.reading.dataset import Dataset
from jllm.data.storage.paths import Location, read_bytes
from jllm.data.storage.remote_path import RemotePath
from jllm.data.storage.retries import RemoteError, is_permanent

CONFIG = "config.json"
_CHOOSES_CLASS = ("model_type", "tokenizer_class")
"""What Transformers reads of a config.json before it loads a tokenizer."""
_MOST = 256 << 20
"""Bytes of one file of a tokenizer."""


def has_tokenizer(folder: Path) -> bool:
    """Return whether a model directory holds a tokenizer, in whatever form."""
    names = (VOCABULARY, "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")
    return any((folder / name).is_file() for name in names)


def same_files(data: Dataset, folder: Path) -> bool:
    """Return whether a model directory has the very files that the data set was made with.

    Reads and hashes the directory's (10 ms for 10 MB); of the data set, what its digests.json
    states. False also where it has none, or one of another tokenizer than the rows name.
    """
    kept = kept_folder(data)
    text = _read(kept / DIGESTS)
    if text is None:
        return False
    try:
        digests = {} if broken_seal(text.decode()) else json.loads(text)
    except ValueError:  # no JSON: jllm.verify_data says so, the digests of the rows decide
        return False
    if digests.get(STATED_TOKENIZER) != data.tokenizer_digest:
        return False
    for name in TOKENIZER_FILES:
        file = folder / name
        stated = digests.get(name)
        found = file_digest(file) if file.is_file() else None
        if name not in (CONFIG, DIGESTS) and found != stated:
            return False
    config = folder / CONFIG
    return _chosen(_read(kept / CONFIG)) == _chosen(_read(config))


def kept_folder(data: Dataset) -> Location:
    """Return where the tokenizer is kept, if it is: beside the files, else in the data set's
    folder.
    """
    beside = data.row_groups[0].file.parent if data.row_groups else data.path
    if isinstance(beside, Path) and not (beside / TOKENIZER_FOLDER).is_dir():
        return data.path / TOKENIZER_FOLDER
    return beside / TOKENIZER_FOLDER


@contextlib.contextmanager
def local_copy(data: Dataset) -> Iterator[Path | None]:
    """Yield the kept tokenizer as a local folder (behind a URL: copied).

    None where none is kept.
    """
    kept = kept_folder(data)
    if isinstance(kept, Path):
        yield kept if has_tokenizer(kept) else None
        return
    with tempfile.TemporaryDirectory() as name:
        for file in TOKENIZER_FILES:
            content = _read(kept / file)
            if content is not None:
                (Path(name) / file).write_bytes(content)
        yield Path(name) if has_tokenizer(Path(name)) else None


def _read(path: Location) -> bytes | None:
    """Return a file's bytes; None where there is none."""
    try:
        return read_bytes(path, _MOST)
    except FileNotFoundError:
        return None
    except RemoteError as error:
        if (
            isinstance(path, RemotePath)
            and isinstance(error.__cause__, Exception)
            and is_permanent(error.__cause__)
        ):
            return None
        raise


def _chosen(config: bytes | None) -> list[object]:
    values = json.loads(config) if config else {}
    return [values.get(key) for key in _CHOOSES_CLASS]
