"""Staging: files are written in a hidden folder and renamed when done, so none is half-written.

The hidden folder lies inside the output folder (so renaming is atomic) and is locked while a
conversion writes there; the next conversion uses or removes what a killed one left behind.
Publishing renames the info files first. If the machine stops between two renames, the info files
state more rows than there are, which every reader refuses; so a partial data set is never taken for
a whole one.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from jllm.data.format.file_names import REPARTITION_PLAN, TOKENIZER_FILES, TOKENIZER_FOLDER
from jllm.data.runtime.state_file import load_state, save_state
from jllm.data.storage.paths import data_files

STAGING = ".jllm-writing"
LOCK = "lock"
STATE = "state"
"""The name of the file with the progress of an unfinished conversion; `resume` reads it."""
PLAN = "plan"
"""The name of the file that lists removals and renames; it exists during publishing."""
PUBLISHED = "published"
"""The new name of PLAN once the publishing of a stopped conversion is finished."""


@contextlib.contextmanager
def stage(output: Path, *, resumable: bool = False) -> Iterator[Path]:
    """Yield a folder to write in; it is removed afterwards, and `output` too if it is empty.

    If a stopped conversion had begun to publish, its publishing is finished first. The folder is
    empty unless `resumable`: then it holds what a stopped conversion left, and after an error it is
    kept if it has a STATE. Raises ValueError where another conversion is writing to `output`, or
    was stopped there and this one is not `resumable`.
    """
    made = not output.exists()
    if not made and not output.is_dir():
        raise ValueError(f"--output {output}: is a file; give a folder")
    folder = output / STAGING
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        _lock(lock, output)
        if (folder / PLAN).exists():
            _carry_out(folder, output)
            (folder / PLAN).replace(folder / PUBLISHED)
        if not resumable:
            if (folder / STATE).exists() and not (folder / PUBLISHED).exists():
                raise ValueError(
                    f"{output}: a conversion was stopped there; finish it with the same command of "
                    f"jllm.raw2ids, or remove {folder} to give it up"
                )
            empty_folder(folder)
        whole = False
        try:
            yield folder
            whole = True
        finally:
            left = (folder / PLAN).exists() or (resumable and (folder / STATE).exists())
            if whole or not left:
                shutil.rmtree(folder, ignore_errors=True)
                if made:
                    with contextlib.suppress(OSError):
                        output.rmdir()


def empty_folder(folder: Path, keep: Sequence[str] = ()) -> None:
    """Remove everything in the staging folder but the lock and the names in `keep`."""
    for left in folder.iterdir():
        if left.name in (LOCK, *keep):
            continue
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _lock(lock: IO[str], output: Path) -> None:
    """Take the lock; processes of a killed conversion may still hold it for a moment."""
    for wait in (0.1, 0.2, 0.4, 0.8, None):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if wait is None:
                raise ValueError(
                    f"--output {output}: another conversion is writing there; wait for it or give "
                    "another --output"
                ) from error
            time.sleep(wait)
        else:
            if not os.path.exists(lock.name) or not os.path.samefile(lock.fileno(), lock.name):
                raise ValueError(
                    f"--output {output}: another conversion ended there while this one began; give "
                    "the command again"
                )
            return


def written_by_jllm(output: Path) -> list[Path]:
    """Return the files of earlier conversions in a folder: parquet files, tokenizer, info files.

    Only files that jllm's info files list and that lie directly in the folder count, and the
    tokenizer's files beside such an info file.
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
    """Return whether a listed name can be one of jllm's files: an info file could name anything."""
    return name.name == str(name) and name.suffix == ".parquet"


def refuse_to_mix(output: Path, new: Iterable[Path] = (), *, clean: bool) -> None:
    """Raise ValueError where the folder holds data that may not be removed under `clean`.

    `new`: the names of the files to be written, where known. Data in subfolders count, because
    readers read them too.
    """
    if (output / REPARTITION_PLAN).exists():
        raise ValueError(
            f"--output {output} holds the parts of a repartition: give another --output, or take "
            f"it back with python -m jllm.repartition -d {output} --undo"
        )
    if not output.is_dir():
        return
    ours = written_by_jllm(output)
    there = (output / name for name in new if name.parent != Path(TOKENIZER_FOLDER))
    found = {*itertools.chain(*data_files(output)), *filter(os.path.lexists, there)}
    if foreign := sorted(str(path) for path in found.difference(ours)):
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise ValueError(
            f"--output {output}: data is there that would be mixed up with the new one and that no "
            f"info file of jllm's beside it lists: {', '.join(foreign[:3])}{more}; give another "
            "--output, or move it away"
        )
    if ours and not clean:
        raise ValueError(
            f"--output {output} holds converted data already ({ours[0].name}); give another "
            "--output, or --clean to replace what jllm wrote there"
        )


def refuse_another_tokenizer(output: Path, staged: Path, *, clean: bool) -> None:
    """Raise ValueError where the folder holds other tokenizer files than the staged ones.

    With `clean`, those of earlier conversions may differ, because they will be replaced.
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


def publish(staged: Path, output: Path, *, clean: bool) -> None:
    """Move all staged files to their final names; `clean` replaces files of earlier conversions.

    Raises ValueError, with nothing changed, where other files are in the way by now. The plan is
    written first, so that the next conversion can finish it. Order: remove the old parquet files
    and tokenizer, add the new info files, remove the old info files, add the new tokenizer and
    parquet files. So until the last rename, every state between disagrees with its info files.
    """
    kept = sorted((staged / TOKENIZER_FOLDER).glob("*"))
    made = sorted(path for path in staged.iterdir() if path.suffix in (".json", ".parquet"))
    for path in (*kept, *made, *{path.parent for path in kept}):
        sync(path)
    new = [path.relative_to(staged) for path in (*kept, *made)]
    refuse_to_mix(output, new, clean=clean)
    refuse_another_tokenizer(output, staged, clean=clean)
    old = [path.relative_to(output) for path in written_by_jllm(output)]
    plan = {"old": [str(name) for name in old], "new": [str(name) for name in new]}
    save_state(staged / PLAN, plan, durable=True)
    sync(staged)
    _carry_out(staged, output)


def _carry_out(staged: Path, output: Path) -> None:
    """Carry out the steps of the plan that are not done yet."""
    plan = load_state(staged / PLAN)
    if plan is None:
        raise ValueError(f"{staged / PLAN} is damaged: remove {staged} and convert again")
    old, new = (list(map(Path, plan[which])) for which in ("old", "new"))
    if strange := [name for name in (*old, *new) if not _is_inside(name)]:
        what = f"{staged / PLAN} names {strange[0]}, which is not jllm's: remove {staged}"
        raise ValueError(what)
    new = [name for name in new if (staged / name).exists()]
    for name in set(new).difference(old):
        if os.path.lexists(output / name) and name.parent != Path(TOKENIZER_FOLDER):
            raise ValueError(f"{output / name}: is there meanwhile; move it away, then go on")
    published = set(plan["new"]) - set(map(str, new))
    old = [name for name in old if str(name) not in published]
    infos = [name for name in new if _is_info(name)]
    for name in old:
        if not _is_info(name):
            (output / name).unlink(missing_ok=True)
    for name in infos:
        (staged / name).rename(output / name)
    for name in old:
        if _is_info(name) and name not in infos:
            (output / name).unlink(missing_ok=True)
    for name in new:
        if name not in infos:
            (output / name).parent.mkdir(exist_ok=True)
            (staged / name).rename(output / name)
    for folder in {(output / name).parent for name in map(Path, plan["new"])}:
        sync(folder)


def _is_inside(name: Path) -> bool:
    return ".." not in name.parts and (
        name.name == str(name) or name.parent == Path(TOKENIZER_FOLDER)
    )


def _is_info(name: Path) -> bool:
    return len(name.parts) == 1 and name.suffix == ".json"


def sync(path: Path) -> None:
    """Flush a file or folder to disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
