"""The tokenizer kept in a data set (`tokenizer_files`), found beside its rows, also by URL."""

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
"""Keys of config.json that Transformers reads before it loads a tokenizer."""
_MOST = 256 << 20
"""The most bytes of one tokenizer file."""


def has_tokenizer(folder: Path) -> bool:
    """Return whether a model directory holds a tokenizer in any form."""
    names = (VOCABULARY, "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")
    return any((folder / name).is_file() for name in names)


def same_files(data: Dataset, folder: Path) -> bool:
    """Return whether a model directory has the same tokenizer files as the data set.

    Reads and hashes the directory's files (10 ms for 10 MB); of the data set only digests.json.
    False also if the data set keeps no tokenizer, or a different one than its rows name.
    """
    kept = kept_folder(data)
    text = _read(kept / DIGESTS)
    if text is None:
        return False
    try:
        digests = {} if broken_seal(text.decode()) else json.loads(text)
    except ValueError:  # jllm.verify_data reports bad JSON; here the digests of the rows decide
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
    """Return where the tokenizer would be kept: beside the files, else in the data set's
    folder.
    """
    beside = data.row_groups[0].file.parent if data.row_groups else data.path
    if isinstance(beside, Path) and not (beside / TOKENIZER_FOLDER).is_dir():
        return data.path / TOKENIZER_FOLDER
    return beside / TOKENIZER_FOLDER


@contextlib.contextmanager
def local_copy(data: Dataset) -> Iterator[Path | None]:
    """Yield the kept tokenizer as a local folder (copied if behind a URL); None if none is kept."""
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
    """Return a file's bytes; None if it does not exist."""
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
