"""Nothing half-written under a final name: files are made in a hidden folder and renamed when done.

The hidden folder lies inside the output folder (so that renaming is atomic) and is locked while a
conversion writes there; what a killed conversion left behind is removed by the next one.

Publishing renames the info files first. If the machine stops between two renames, the info files
promise more rows than there are, which every reader refuses; the state is never taken for whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

STAGING = ".jllm-writing"
LOCK = "lock"


@contextlib.contextmanager
def stage(output: Path) -> Iterator[Path]:
    """An empty folder to write in; it is gone afterwards, and so is `output` if it is empty.

    Raises ValueError when another conversion is writing to `output`.
    """
    made = not output.exists()
    folder = output / STAGING
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"--output {output}: another conversion is writing there; wait for it or give "
                "another --output"
            ) from error
        for left in folder.iterdir():
            if left.name != LOCK:
                left.unlink()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if made:
                with contextlib.suppress(OSError):
                    output.rmdir()


def written_by_jllm(output: Path) -> list[Path]:
    """The files of earlier conversions in a folder: parquet files first, then their info files.

    Only what an info file of jllm's lists and what lies directly in the folder counts.
    """
    infos, files = [], []
    for info in sorted(output.glob("*_info.json")):
        try:
            content = json.loads(info.read_text(encoding="utf-8"))
            names = [Path(file["name"]) for file in content["files"]]
            known = "format_version" in content
        except (ValueError, KeyError, TypeError):
            continue
        if known:
            infos.append(info)
            files += [output / name for name in names if name.name == str(name)]
    return [file for file in files if file.is_file()] + infos


def refuse_to_mix(output: Path, names: list[str], *, clean: bool) -> None:
    """Raise ValueError where the folder holds data that `clean` does not allow to be removed."""
    ours = written_by_jllm(output) if output.is_dir() else []
    there = [output / name for name in names if (output / name).exists()]
    foreign = [path for path in there if path not in ours]
    if foreign:
        raise ValueError(f"--output {output}: {foreign[0].name} is there and not jllm's; move it")
    if ours and not clean:
        raise ValueError(
            f"--output {output} holds converted data already ({ours[0].name}); give another "
            "--output, or --clean to replace what jllm wrote there"
        )


def publish(staged: Path, output: Path) -> None:
    """Move all staged files to their final names, replacing what earlier conversions wrote.

    Order: old parquet files go, new info files come, old info files go, new parquet files come;
    so every state between disagrees with its info files until the last rename.
    """
    files = sorted(path for path in staged.iterdir() if path.name != LOCK)
    for path in files:
        _sync(path)
    old = written_by_jllm(output)
    infos = [path for path in files if path.suffix == ".json"]
    for path in old:
        if path.suffix != ".json":
            path.unlink()
    for path in infos:
        path.rename(output / path.name)
    for path in old:
        if path.suffix == ".json" and path.name not in {new.name for new in infos}:
            path.unlink()
    for path in files:
        if path not in infos:
            path.rename(output / path.name)
    _sync(output)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
