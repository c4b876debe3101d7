"""Local paths and URLs by one interface: the files of a data set, their stamps and bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from jllm.data.storage.remote_path import RemotePath, Stamp, has_listing, is_remote
from jllm.data.storage.retries import RetryPolicy

Location = Path | RemotePath


def location(text: str | Location, retry_policy: RetryPolicy | None = None) -> Location:
    """Return the URL or local path (also from file://…) that `text` names.

    Raises ValueError where it names neither.
    """
    if isinstance(text, RemotePath):
        return text
    if not str(text):
        raise ValueError("an empty name: expected a folder or a URL")
    if is_remote(text):
        if not str(text).partition("://")[2].strip("/"):
            raise ValueError(f"{text}: names no host, bucket or folder")
        return RemotePath(str(text).rstrip("/"), retry_policy or RetryPolicy())
    if str(text).startswith("file://"):
        return Path(unquote(urlsplit(str(text)).path))
    return Path(text)


def local_path(path: Location) -> Path:
    """Return the path unchanged. Raises ValueError for a URL where only local files will do."""
    if isinstance(path, RemotePath):
        raise ValueError(f"{path}: only local files can be worked on here; copy the folder first")
    return path


def stamp(path: Location) -> Stamp:
    """Return a file's current size and modification time. Raises OSError where there is no file."""
    if isinstance(path, RemotePath):
        return path.stamp()
    about = path.stat()
    return Stamp(size=about.st_size, version=str(about.st_mtime_ns))


def listed_stamp(path: Location) -> Stamp:
    """Return a file's stamp; for a remote file from its folder's listing, where that has enough."""
    return (isinstance(path, RemotePath) and path.listed) or stamp(path)


def read_bytes(path: Location, most: int) -> bytes:
    """Return all bytes of a small file. Raises ValueError where it has more than `most`."""
    size = listed_stamp(path).size
    if size > most:
        raise ValueError(f"{path}: has {size:,} bytes, expected at most {most:,}")
    if isinstance(path, RemotePath):
        return path.read(0, size)
    return path.read_bytes()


def relative_name(path: Location, folder: Location) -> str:
    """Return the path of a file relative to a folder above it, with slashes."""
    if isinstance(path, RemotePath):
        assert isinstance(folder, RemotePath)
        return path.relative_to(folder).as_posix()
    assert isinstance(folder, Path)
    return path.relative_to(folder).as_posix()


def data_files(folder: Location) -> tuple[list[Location], list[Location]]:
    """Return (parquet files, info files) of a folder, at any depth, by relative name.

    Hidden and temporary files (Spark's `_temporary`, `.part-0.crc`, …) are not data. For a URL that
    is itself an info file, no parquet files are returned: they are those that it lists. Raises
    ValueError where the path is not a folder.
    """
    if isinstance(folder, RemotePath):
        if folder.name.endswith("info.json"):
            return [], [folder]
        if not has_listing(folder):
            raise ValueError(
                f"{folder}: http cannot list a folder; name the info file in it, as in "
                f"{folder}/<name>_info.json"
            )
        files = [(file.relative_to(folder).parts, file) for file in folder.files()]
    else:
        if not folder.is_dir():
            raise ValueError(
                f"{folder}: not a folder; expected one that python -m jllm.raw2ids wrote"
            )
        files = [(file.relative_to(folder).parts, file) for file in _below(folder)]
        for _, file in files:
            if file.is_symlink() and not file.resolve().is_relative_to(folder.resolve()):
                raise ValueError(
                    f"{file}: is a link out of the folder, to {file.resolve()}: copy the file there"
                )
    seen = [
        file
        for names, file in sorted(files, key=lambda item: item[0])
        if not any(name[0] in "._" for name in names)
    ]
    return (
        [file for file in seen if file.name.endswith(".parquet")],
        [file for file in seen if file.name.endswith("info.json")],
    )


def _below(folder: Path) -> Iterator[Path]:
    """Yield parquet and info files of a folder and its subfolders (not hidden or linked ones)."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name[0] not in "._":
                    yield from _below(folder / entry.name)
            elif entry.name.endswith((".parquet", "info.json")) and entry.is_file():
                yield folder / entry.name
