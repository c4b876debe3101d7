"""Distribute the files of a data set over parts, in the layout `<18 digits>-part-<number>/`.

The plan is written to `data.info` first. Files are renamed or linked one by one; nothing is deleted
but what the repartition itself wrote. So the same command finishes an interrupted repartition, and
`--undo` reverts it. Until then readers refuse the folder, because info files list missing files.
"""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import os
from pathlib import Path

from jllm.data.format.file_names import REPARTITION_PLAN, TOKENIZER_FOLDER, VOCABULARY
from jllm.data.format.merge_info import merge_infos, read_contents
from jllm.data.format.sealed_json import SEAL, broken_seal
from jllm.data.reading.dataset import info_files, open_dataset
from jllm.data.reading.footer import read_footer
from jllm.data.storage.paths import data_files, local_path
from jllm.data.tools.repartition.config import RepartitionConfig
from jllm.data.tools.repartition.plan import (
    KEPT,
    Repartition,
    from_content,
    plan_repartition,
    to_text,
)
from jllm.data.writing.staging import stage


def repartition(config: RepartitionConfig) -> str:
    """Do, resume or undo a repartition; returns a sentence for the user.

    Raises ValueError where something is in the way, OSError from the file system; the same command
    resumes from there.
    """
    with stage(config.target):
        plan = _read_plan(config.target)
        if config.undo:
            if plan is None:
                raise ValueError(
                    f"{config.target}: holds no {REPARTITION_PLAN}; there is nothing to undo"
                )
            _undo(config.target, plan)
            return f"{config.target}: the files are where they were"
        if plan is None:
            _refuse_to_mix(config)
            plan = _make_plan(config)
            _refuse_what_is_in_the_way(config.target, plan)
        elif plan.state == "being undone":
            raise ValueError(f"{config.target}: --undo was interrupted; run it again")
        elif not _is_of(config, plan):
            raise ValueError(
                f"{config.target}: holds the parts of another data set than {config.source}; give "
                "another --output, or --undo first"
            )
        elif plan.num_partition != config.num_partition:
            raise ValueError(
                f"{config.target}: a repartition to {plan.num_partition} parts is {plan.state}; "
                f"give -n {plan.num_partition}, or --undo first"
            )
        if plan.state != "complete":
            _carry_out(config.target, plan)
    return f"{config.target}: {plan.num_partition} parts, {plan.parts[0]} and so on"


def _refuse_to_mix(config: RepartitionConfig) -> None:
    """Refuse a parts folder that holds other data, which would be read with the parts."""
    if config.output and config.target.is_dir():
        source = config.source.resolve()
        for path in itertools.chain(*data_files(config.target)):
            if config.links or not local_path(path).resolve().is_relative_to(source):
                raise ValueError(
                    f"--output {config.output}: holds data already ({path}), which would be read "
                    "with the parts; give another --output"
                )


def _is_of(config: RepartitionConfig, plan: Repartition) -> bool:
    """Return whether the plan is one of this data set."""
    target, source = config.target.resolve(), config.source.resolve()
    return all(Path(os.path.normpath(target / old)).is_relative_to(source) for old, _ in plan.moves)


def _make_plan(config: RepartitionConfig) -> Repartition:
    dataset, source = open_dataset(config.source), config.source
    infos = info_files(source)
    contents = read_contents(infos)
    whole = merge_infos(contents, [], max(one["max_num_blocks"] for one in contents.values()))
    whole["num_samples"] = dataset.num_rows
    files = [local_path(path) for path in data_files(source)[0]]
    return plan_repartition(
        source=source,
        target=config.target,
        num_partition=config.num_partition,
        links=config.links,
        rows={path: read_footer(path).num_rows for path in files},
        entries={
            path.parent / entry["name"]: entry
            for path, content in contents.items()
            for entry in content.get("files", [])
        },
        infos=infos,
        whole={key: value for key, value in whole.items() if key not in ("files", SEAL)},
        tokenizer=_tokenizer_files(source),
    )


def _tokenizer_files(source: Path) -> list[Path]:
    found = sorted(source.rglob(f"{TOKENIZER_FOLDER}/{VOCABULARY}"))
    return sorted(path for path in found[0].parent.iterdir() if path.is_file()) if found else []


def _refuse_what_is_in_the_way(target: Path, plan: Repartition) -> None:
    for name in (*plan.parts, KEPT):
        if (target / name).exists():
            raise ValueError(f"{target / name}: is there already; move it, or give an --output")
    for old, _ in plan.moves:
        if not plan.links and (target / old).is_symlink():
            raise ValueError(f"{target / old}: a symbolic link is not moved; give --link and -o")


def _carry_out(target: Path, plan: Repartition) -> None:
    """Carry out the plan; every step that is done already does nothing."""
    _write_plan(target, plan)
    for name, text in plan.texts.items():
        _write(target / name, text.encode())
    for old, new in plan.copies:
        _write(target / new, (target / old).read_bytes())
    for old, new in plan.moves:
        _bring(target / old, target / new, link=plan.links)
    _write_plan(target, dataclasses.replace(plan, state="complete"))


def _bring(old: Path, new: Path, *, link: bool) -> None:
    """Rename or link one file, never over another one."""
    new.parent.mkdir(parents=True, exist_ok=True)
    if new.exists():
        same = old.exists() and new.samefile(old)
        if same and not link:  # interrupted between the two steps below
            old.unlink()
        if same or (not link and not old.exists()):
            return
        raise ValueError(f"{new}: is there already, and {old} too; move one of them away")
    if not old.exists():
        raise ValueError(f"{old}: missing, and not at {new} either; put it back, then go on")
    try:
        # Link first: a rename would replace a file that appears there meanwhile.
        os.link(old, new)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise ValueError(
                f"{new.parent}: on another disk than {old}; choose one there"
            ) from error
        if link or error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        old.rename(new)
        return
    if not link:
        old.unlink()


def _undo(target: Path, plan: Repartition) -> None:
    if plan.links:
        _refuse_only_copies(target, plan)
    _write_plan(target, dataclasses.replace(plan, state="being undone"))
    for old, new in reversed(plan.moves):
        if plan.links:
            (target / new).unlink(missing_ok=True)
        elif (target / new).exists() or not (target / old).exists():
            _bring(target / new, target / old, link=False)
    written = {name: text.encode() for name, text in plan.texts.items()}
    for old, new in plan.copies:
        if (target / old).exists():  # else the copy is the only one left, and is kept
            written[new] = (target / old).read_bytes()
    for name, content in written.items():
        _unfinished(target / name).unlink(missing_ok=True)
        if (target / name).exists() and (target / name).read_bytes() == content:
            (target / name).unlink()
    for folder in (*plan.parts, KEPT):
        for path in sorted((target / folder).rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        if (target / folder).is_dir() and not any((target / folder).iterdir()):
            (target / folder).rmdir()
    (target / REPARTITION_PLAN).unlink()


def _refuse_only_copies(target: Path, plan: Repartition) -> None:
    for old, new in plan.moves:
        link, linked = target / new, target / old
        if link.exists() and not (linked.exists() and link.samefile(linked)):
            raise ValueError(
                f"{link}: is no longer a link to {old}; it is kept, and nothing is undone: if its "
                f"rows are not needed, remove {target}"
            )


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.unfinished")


def _read_plan(target: Path) -> Repartition | None:
    path = target / REPARTITION_PLAN
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        plan = from_content(json.loads(text))
        broken = broken_seal(text)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not of a repartition of jllm's; move it away") from error
    if broken:
        raise ValueError(f"{path}: {broken}; nothing is moved by a plan that was changed")
    return plan


def _write_plan(target: Path, plan: Repartition) -> None:
    _write(target / REPARTITION_PLAN, to_text(plan).encode())


def _write(path: Path, content: bytes) -> None:
    """Write the whole file or nothing, and wait until it is on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _unfinished(path)
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
