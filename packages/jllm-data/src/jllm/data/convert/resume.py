"""What of a conversion is done, so that one that was stopped goes on and ends with the same bytes.

Beside the files of a conversion under way lies its state: what became of the input files that are
done, and of the one under way the finished partitions (`--num_lines_per_partition`) and where the
next one begins; every finished file with its digest. So a stop costs at most one input file or one
partition. The state serves the same settings, versions and input files alone, and only while every
file that it lists is whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jllm.data.format.digests import file_digest
from jllm.data.runtime.state_file import load_state, save_state
from jllm.data.writing.staging import STATE, empty_folder

SHARE = 0.05
"""The part of a conversion's time that may go into saving its state."""
Tree = dict[str, Any]
"""A value that `state_file` can hold."""


@dataclass(kw_only=True)
class ResumeState:
    """The log of the conversion that writes to `folder`."""

    folder: Path
    key: Tree
    """Whatever the output depends on; nothing is saved where it is empty."""
    finished: dict[str, Tree] = field(default_factory=dict)
    """What became of the input files that are done, by name: `ConvertedFile.tree`."""
    open: Tree | None = None
    """Of the input file under way, where its next partition begins: "output" (`FileOutput.add`),
    and before the split in which that is the number of "splits", the "taken" bytes and the
    "account"; its name ("source")."""
    _due: float = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time to save again."""
        return bool(self.key) and time.monotonic() >= self._due

    @property
    def begun(self) -> bool:
        """Whether anything is done."""
        return bool(self.finished) or self.open is not None

    @property
    def files(self) -> list[Tree]:
        """The files that are finished, as `FileInfo` in a tree."""
        files = [file for tree in self.finished.values() for file in tree["files"]]
        if self.open is not None:
            files += self.open["output"]["files"]
        return files

    @property
    def taken(self) -> int:
        """Bytes of the input files, as they lie, that are done."""
        trees = [*self.finished.values(), *([self.open] if self.open else [])]
        return sum(tree["taken"] for tree in trees)

    def finish(self, source: str, tree: Tree) -> None:
        """Note that the input file under way is done."""
        self.finished[source], self.open = tree, None
        if self.due:
            self.save()

    def save(self) -> None:
        """Write the state, if a file is finished. Raises OSError."""
        began = time.monotonic()
        if self.key and self.files:
            shown = ("key", "finished", "open")
            save_state(self.folder / STATE, {name: getattr(self, name) for name in shown})
        now = time.monotonic()
        self._due = now + (now - began) / SHARE

    def begin_anew(self) -> None:
        """Forget everything and empty the folder."""
        self.finished, self.open = {}, None
        empty_folder(self.folder)

    def keep_finished(self) -> int:
        """Remove what is not in the saved state: it is made again, and takes room meanwhile.

        Returns how many files are kept.
        """
        saved = load_state(self.folder / STATE)
        names = [file["name"] for file in _restored(self.folder, saved).files] if saved else []
        empty_folder(self.folder, keep=(STATE, *names) if names else ())
        return len(names)


def load_resume_state(folder: Path, key: Tree, note: Callable[[str], None]) -> ResumeState:
    """Return the log of the same conversion where one was stopped in `folder`, else an empty one.

    `note` is told which; files that are not reused are removed. An empty `key`: nothing is.
    """
    saved = load_state(folder / STATE)
    if saved:
        log = _restored(folder, saved)
        why = _difference(log.key, key) or _damage(folder, log.files)
        if not why:
            log.keep_finished()
            log.key = key
            note(
                f"continuing the conversion that was stopped in {folder.parent}; finished files, "
                f"checked and kept: {len(log.files):,}"
            )
            return log
        note(f"the conversion that was stopped in {folder.parent} is begun anew: {why}")
    log = ResumeState(folder=folder, key=key)
    log.begin_anew()
    return log


def published_log(folder: Path, key: Tree) -> ResumeState | None:
    """Return the log of the same conversion, if it was stopped while it was published and is whole
    now.

    `folder` is the staging folder; the files are where they belong, beside it.
    """
    saved = load_state(folder / STATE)
    log = _restored(folder, saved) if saved else None
    if log is None or _difference(log.key, key) or _damage(folder.parent, log.files):
        return None
    return log


def _restored(folder: Path, saved: Tree) -> ResumeState:
    return ResumeState(folder=folder, **saved)


def _difference(saved: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    """Return the first setting that is another, for a person."""
    for name, value in key.items():
        before = saved.get(name)
        if before != value and (name, before) != ("--on_error", "stop"):
            short = not isinstance(before, (list, dict)) and not isinstance(value, (list, dict))
            return f"{name} was {before}, is {value}" if short else f"{name} is another"
    return "" if saved.keys() == key.keys() else "its input cannot be read again"


def _damage(folder: Path, files: list[Tree]) -> str:
    """Return the first listed file that is not whole, for a person."""
    for file in files:
        path = folder / file["name"]
        if not path.is_file() or path.stat().st_size != file["bytes"]:
            return f"{file['name']} is not there as it was written"
        if file_digest(path) != file["digest"]:
            return f"{file['name']} is damaged"
    return ""
