"""The state of a conversion under way, so that an interrupted one resumes with identical bytes.

The state lies beside the unfinished output: the results of the finished input files; for the
current one its finished partitions (`--num_lines_per_partition`) and the start of the next; and the
digest of every finished file. So an interruption costs at most one input file or one partition. The
state is valid only for the same settings, versions and input files, and only while every file that
it lists is whole.
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
"""The largest share of a conversion's time spent on saving its state."""
Tree = dict[str, Any]
"""A value that `state_file` can hold."""


@dataclass(kw_only=True)
class ResumeState:
    """The saved state of the conversion that writes to `folder`."""

    folder: Path
    key: Tree
    """All that the output depends on; if empty, nothing is saved."""
    finished: dict[str, Tree] = field(default_factory=dict)
    """Results of the finished input files by name: `ConvertedFile.tree`."""
    open: Tree | None = None
    """The current input file, at the start of its next partition: its name ("source"), "output"
    (`FileOutput.add`), and, before the split where that partition begins, the number of "splits",
    the "taken" bytes and the "account"."""
    _due: float = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time to save again."""
        return bool(self.key) and time.monotonic() >= self._due

    @property
    def begun(self) -> bool:
        """Whether any work is finished."""
        return bool(self.finished) or self.open is not None

    @property
    def files(self) -> list[Tree]:
        """The finished files, as `FileInfo` trees."""
        files = [file for tree in self.finished.values() for file in tree["files"]]
        if self.open is not None:
            files += self.open["output"]["files"]
        return files

    @property
    def taken(self) -> int:
        """Bytes of the input files on disk (compressed) that are done."""
        trees = [*self.finished.values(), *([self.open] if self.open else [])]
        return sum(tree["taken"] for tree in trees)

    def finish(self, source: str, tree: Tree) -> None:
        """Note that the current input file is done."""
        self.finished[source], self.open = tree, None
        if self.due:
            self.save()

    def save(self) -> None:
        """Write the state if a file is finished. Raises OSError."""
        began = time.monotonic()
        if self.key and self.files:
            shown = ("key", "finished", "open")
            save_state(self.folder / STATE, {name: getattr(self, name) for name in shown})
        now = time.monotonic()
        self._due = now + (now - began) / SHARE

    def begin_anew(self) -> None:
        """Forget all progress and empty the folder."""
        self.finished, self.open = {}, None
        empty_folder(self.folder)

    def keep_finished(self) -> int:
        """Remove files that are not in the saved state.

        They are recomputed, and would need disk space until then. Returns the number of files kept.
        """
        saved = load_state(self.folder / STATE)
        names = [file["name"] for file in _restored(self.folder, saved).files] if saved else []
        empty_folder(self.folder, keep=(STATE, *names) if names else ())
        return len(names)


def load_resume_state(folder: Path, key: Tree, note: Callable[[str], None]) -> ResumeState:
    """Return the state of an interrupted conversion in `folder` with the same key, else a new one.

    `note` is told which; files that are not reused are removed. If `key` is empty, none is reused.
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
    """Return the state of the same conversion if it was interrupted while publishing and is now
    whole.

    `folder` is the staging folder; the files are in their final place beside it.
    """
    saved = load_state(folder / STATE)
    log = _restored(folder, saved) if saved else None
    if log is None or _difference(log.key, key) or _damage(folder.parent, log.files):
        return None
    return log


def _restored(folder: Path, saved: Tree) -> ResumeState:
    return ResumeState(folder=folder, **saved)


def _difference(saved: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    """Return the first setting that differs, for a message to the user."""
    for name, value in key.items():
        before = saved.get(name)
        if before != value and (name, before) != ("--on_error", "stop"):
            short = not isinstance(before, (list, dict)) and not isinstance(value, (list, dict))
            return f"{name} was {before}, is {value}" if short else f"{name} is another"
    return "" if saved.keys() == key.keys() else "its input cannot be read again"


def _damage(folder: Path, files: list[Tree]) -> str:
    """Return the first listed file that is not whole, for a message to the user."""
    for file in files:
        path = folder / file["name"]
        if not path.is_file() or path.stat().st_size != file["bytes"]:
            return f"{file['name']} is not there as it was written"
        if file_digest(path) != file["digest"]:
            return f"{file['name']} is damaged"
    return ""
