"""A folder of checkpoints: finding the newest complete one, publishing, keeping a few, cleaning up.

<folder>/<step>/          a complete checkpoint (its manifest is its proof)
<folder>/latest           the step saved last, for people and scripts; never trusted here
<folder>/.tmp-…           a save or a removal under way, or what a killed run left of one
"""

import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from jllm.models.weights import manifest as manifests
from jllm.models.weights.manifest import CheckpointError, Manifest
from jllm.parallel.checkpoint.atomic import exchange, replace_file, sync_directory

LATEST = "latest"
_TEMPORARY = re.compile(r"\.tmp-(?P<kind>save|remove|replace)-(?P<step>\d+)-[0-9a-f]{8}")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    path: Path
    manifest: Manifest


def temporary_name(kind: str, step: int) -> str:
    """Return a fresh name for a directory that is not yet, or no longer, a checkpoint."""
    return f".tmp-{kind}-{step}-{secrets.token_hex(4)}"


def open_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint at `path`; raise CheckpointError unless it is complete."""
    manifest = manifests.read(path)
    manifests.check_sizes(path, manifest.files)
    return Checkpoint(path=path, manifest=manifest)


def survey(folder: Path) -> tuple[list[Checkpoint], list[CheckpointError]]:
    """Return the complete checkpoints in the order they were saved, and why others are none."""
    complete, faults = [], []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if _tag(path) is not None and path.is_dir():
            try:
                complete.append(open_checkpoint(path))
            except CheckpointError as fault:
                faults.append(fault)
    complete.sort(key=lambda found: (found.manifest.sequence, found.manifest.step))
    return complete, faults


def _tag(path: Path) -> str | None:
    """Return the step that a directory is the checkpoint of, by its name alone.

    One that was set aside while it is replaced counts until its successor is there.
    """
    if path.name.isdecimal():
        return path.name
    match = _TEMPORARY.fullmatch(path.name)
    if match and match["kind"] == "replace" and not path.with_name(match["step"]).exists():
        return match["step"]
    return None


def find(folder: Path, tag: str | None = None) -> Checkpoint:
    """Return the checkpoint that was saved last and is complete, or the one of step `tag`.

    `folder` may also be a checkpoint itself. Raises CheckpointError where there is none, listing
    what is there. Never looks at `latest`, never changes anything.
    """
    if tag is None and (folder / manifests.NAME).is_file():
        return open_checkpoint(folder)
    complete, faults = survey(folder)
    present = ", ".join(str(step) for step in sorted(int(_tag(c.path) or 0) for c in complete))
    if tag is not None:
        for found in complete:
            if _tag(found.path) == tag:
                return found
        reason = "".join(f"\n  {fault}" for fault in faults if f"{folder / tag}" in str(fault))
        raise CheckpointError(
            f"{folder}: has no complete checkpoint {tag}; --tag can be: {present or 'none'}{reason}"
        )
    if not complete:
        reasons = "".join(f"\n  {fault}" for fault in faults)
        raise CheckpointError(f"{folder}: holds no complete checkpoint{reasons}")
    return complete[-1]


def passed_over(folder: Path, found: Checkpoint) -> list[str]:
    """Say what of a folder is newer than a checkpoint, by its step, and cannot be used."""
    if found.path == folder or not folder.is_dir():
        return []
    newer = []
    for path in sorted(folder.iterdir()):
        tag, match = _tag(path), _TEMPORARY.fullmatch(path.name)
        if tag is not None and path.is_dir() and int(tag) > found.manifest.step:
            try:
                open_checkpoint(path)
            except CheckpointError as fault:
                newer.append(str(fault))
        elif match and match["kind"] == "save" and int(match["step"]) > found.manifest.step:
            newer.append(f"{path}: the save of step {match['step']} did not come to its end")
    return newer


def publish(folder: Path, temporary: Path, step: int) -> None:
    """Make a finished directory the checkpoint of its step, at once, also over an older one."""
    final = folder / str(step)
    if not final.exists():
        temporary.rename(final)
    elif exchange(temporary, final):
        sync_directory(folder)
        shutil.rmtree(temporary)
    else:
        old = folder / temporary_name("replace", step)
        final.rename(old)
        temporary.rename(final)
        sync_directory(folder)
        shutil.rmtree(old)
    sync_directory(folder)
    replace_file(folder / LATEST, f"{step}\n".encode())


def keep_newest(folder: Path, count: int) -> None:
    """Remove all complete checkpoints but the `count` (≥ 1) saved last.

    What is not recognised as a complete checkpoint of this format is left alone.
    """
    assert count >= 1, count
    complete, _ = survey(folder)
    for old in complete[:-count]:
        doomed = folder / temporary_name("remove", old.manifest.step)
        old.path.rename(doomed)
        sync_directory(folder)
        shutil.rmtree(doomed)


def clean(folder: Path) -> None:
    """Remove what killed saves have left; put back a checkpoint that was about to be replaced.

    For one process, while nobody saves into the folder: at a run's start and before each save.
    """
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if match := _TEMPORARY.fullmatch(path.name):
            final = folder / match["step"]
            if match["kind"] == "replace" and not final.exists():
                path.rename(final)
                sync_directory(folder)
            else:
                shutil.rmtree(path)
