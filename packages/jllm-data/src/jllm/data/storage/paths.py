"""Local paths and URLs alike: which files a data set has, and how they are looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from jllm.data.storage.remote_path import RemotePath, Stamp, has_listing, is_remote
from jllm.data.storage.retries import RetryPolicy

Location = Path | RemotePath


def location(text: str | Location, retry_policy: RetryPolicy | None = None) -> Location:
    """Return what `text` names: a URL, or a local path (also as file://…).

    ValueError if nothing.
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
    """Return the path itself; ValueError for a URL, where only local files are worked on."""
    if isinstance(path, RemotePath):
        raise ValueError(f"{path}: only local files can be worked on here; copy the folder first")
    return path


def stamp(path: Location) -> Stamp:
    """Size and time of change of a file, now; OSError where there is none."""
    if isinstance(path, RemotePath):
        return path.stamp()
    about = path.stat()
    return Stamp(size=about.st_size, version=str(about.st_mtime_ns))


def listed_stamp(path: Location) -> Stamp:
    """Return the same, for a remote file as the listing of its folder said, where it said
    enough."""
    return (isinstance(path, RemotePath) and path.listed) or stamp(path)


def read_bytes(path: Location, most: int) -> bytes:
    """Return all of a small file; ValueError where it has more than `most` bytes."""
    size = listed_stamp(path).size
    if size > most:
        raise ValueError(f"{path}: has {size:,} bytes, expected at most {most:,}")
    if isinstance(path, RemotePath):
        return path.read(0, size)
    return path.read_bytes()


def relative_name(path: Location, folder: Location) -> str:
    """Return the way from a folder to a file below it, with slashes."""
    if isinstance(path, RemotePath):
        assert isinstance(folder, RemotePath)
        return path.relative_to(folder).as_posix()
    assert isinstance(folder, Path)
    return path.relative_to(folder).as_posix()


def data_files(folder: Location) -> tuple[list[Location], list[Location]]:
    """(parquet files, info files) of a folder, at any depth, by relative name.

    Hidden and temporary ones (Spark's `_temporary`, `.part-0.crc`, …) are not data. Of a URL that
    is itself an info file the parquet files are those that it lists: none are given here.
    ValueError where the folder is none.
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
    """Parquet and info files of a local folder and of those in it, but hidden and linked ones."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name[0] not in "._":
                    yield from _below(folder / entry.name)
            elif entry.name.endswith((".parquet", "info.json")) and entry.is_file():
                yield folder / entry.name
