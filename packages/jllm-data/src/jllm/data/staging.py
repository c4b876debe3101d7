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

from jllm.data.tokenizer_files import TOKENIZER_FILES, TOKENIZER_FOLDER

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
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name != LOCK:
                left.unlink()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if made:
                with contextlib.suppress(OSError):
                    output.rmdir()


def written_by_jllm(output: Path) -> list[Path]:
    """The files of earlier conversions in a folder: parquet files, their tokenizer, info files.

    Only what an info file of jllm's lists and what lies directly in the folder counts, and beside
    an info file of jllm's the tokenizer's files.
    """
    infos, files = [], []
    for info in sorted(output.glob("*_info.json")):
        try:
            content = json.loads(info.read_text(encoding="utf-8"))
            names = [Path(file["name"]) for file in content["files"]]
            known = "format_version" in content
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if known:
            infos.append(info)
            files += [output / name for name in names if _is_ours(name)]
    if infos:
        files += [output / TOKENIZER_FOLDER / name for name in TOKENIZER_FILES]
    return [file for file in files if file.is_file()] + infos


def _is_ours(name: Path) -> bool:
    """Whether a listed name may be one of jllm's files: an info file could name anything."""
    return name.name == str(name) and name.suffix == ".parquet"


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


def refuse_another_tokenizer(output: Path, staged: Path, *, clean: bool) -> None:
    """Raise ValueError where the folder holds a tokenizer's files that are not the staged ones.

    With `clean`, those of earlier conversions may be others, for they will be replaced.
    """
    there, new = output / TOKENIZER_FOLDER, staged / TOKENIZER_FOLDER
    replaced = written_by_jllm(output) if clean else []
    for name in TOKENIZER_FILES:
        kept = there / name
        if kept.exists() and kept not in replaced:
            given = new / name
            if not given.exists() or given.read_bytes() != kept.read_bytes():
                raise ValueError(
                    f"--output {output}: {TOKENIZER_FOLDER}/{name} there is of another tokenizer; "
                    "give another --output, or move that folder"
                )


def publish(staged: Path, output: Path) -> None:
    """Move all staged files to their final names, replacing what earlier conversions wrote.

    Order: the old parquet files and tokenizer go, new info files come, old info files go, the new
    tokenizer and parquet files come; so every state between disagrees with its info files until
    the last rename.
    """
    kept = sorted((staged / TOKENIZER_FOLDER).glob("*"))
    names = [path.relative_to(staged) for path in (*kept, *sorted(staged.glob("*.*")))]
    for name in names:
        _sync(staged / name)
    old = written_by_jllm(output)
    infos = [name for name in names if _is_info(name)]
    for path in old:
        if not _is_info(path.relative_to(output)):
            path.unlink()
    for name in infos:
        (staged / name).rename(output / name)
    for path in old:
        if _is_info(path.relative_to(output)) and path.name not in {new.name for new in infos}:
            path.unlink()
    for name in names:
        if name not in infos:
            (output / name).parent.mkdir(exist_ok=True)
            (staged / name).rename(output / name)
    for folder in {(output / name).parent for name in names}:
        _sync(folder)


def _is_info(name: Path) -> bool:
    return len(name.parts) == 1 and name.suffix == ".json"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
