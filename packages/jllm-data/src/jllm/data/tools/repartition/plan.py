"""The plan of a repartition: made once, saved, then carried out or undone.

Paths are relative to the folder of the parts, with '/'.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jllm.data.format.sealed_json import sealed

KEPT = ".before-repartition"
"""Hidden folder for the old info files, which those of the parts replace."""


@dataclass(frozen=True, kw_only=True)
class Repartition:
    """The plan of one repartition, kept as JSON in `data.info`."""

    num_partition: int
    links: bool
    """Whether files are linked; otherwise they are moved."""
    state: str
    """"under way", "complete" or "being undone"."""
    parts: tuple[str, ...]
    """Folders."""
    texts: Mapping[str, str]
    """Contents by path of the files that are written: the parts' info files."""
    copies: tuple[tuple[str, str], ...]
    """(from, to): the tokenizer's files, one copy for each part."""
    moves: tuple[tuple[str, str], ...]
    """(from, to) in this order: old info files (only if files are moved), then parquet files."""
    whole: Mapping[str, Any]
    """The totals of the old info files, including the record counts."""


def plan_repartition(
    *,
    source: Path,
    target: Path,
    num_partition: int,
    links: bool,
    rows: Mapping[Path, int],
    entries: Mapping[Path, Mapping[str, Any]],
    infos: Sequence[Path],
    whole: Mapping[str, Any],
    tokenizer: Sequence[Path],
) -> Repartition:
    """Plan a repartition of a data set.

    `rows`: rows of each parquet file, in order; `entries`: the entries of these files in info
    files; `infos`: the info files, of which `whole` is the sum; `tokenizer`: the tokenizer's files.
    Raises ValueError if there are fewer files than parts, or two files would have the same name.
    """
    files = list(rows)
    if len(files) < num_partition:
        raise ValueError(
            f"--num_partition {num_partition}: {source} holds {len(files)} files; write more with "
            f"python -m jllm.shuffle_datasets -n {num_partition}"
        )
    names = _names(files, source)
    listing = [[names[file], rows[file], entries.get(file)] for file in files]
    text = json.dumps(listing, sort_keys=True)
    stem = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:18]
    parts = [f"{stem}-part-{number:05d}" for number in range(num_partition)]
    texts, moves, copies = dict[str, str](), list[tuple[str, str]](), list[tuple[str, str]]()
    if not links:
        moves += [(_from(target, info), f"{KEPT}/{_from(source, info)}") for info in infos]
    for number, part in enumerate(parts):
        mine = files[number::num_partition]
        texts[f"{part}/{part}_info.json"] = _part_info(mine, names, rows, entries, whole)
        moves += [(_from(target, file), f"{part}/{names[file]}") for file in mine]
        copies += [(_from(target, file), f"{part}/tokenizer/{file.name}") for file in tokenizer]
    return Repartition(
        num_partition=num_partition,
        links=links,
        state="under way",
        parts=tuple(parts),
        texts=texts,
        copies=tuple(copies),
        moves=tuple(moves),
        whole=whole,
    )


def to_text(plan: Repartition) -> str:
    """Return the text of `data.info`."""
    return sealed({"format_version": 1, **asdict(plan)})


def from_content(content: Mapping[str, Any]) -> Repartition:
    """Return the plan from the decoded text. Raises KeyError or TypeError for anything else."""
    values = {name: content[name] for name in Repartition.__dataclass_fields__}
    for name in ("copies", "moves"):
        values[name] = tuple((str(old), str(new)) for old, new in values[name])
    return Repartition(**values | {"parts": tuple(values["parts"])})


def _part_info(
    files: Sequence[Path],
    names: Mapping[Path, str],
    rows: Mapping[Path, int],
    entries: Mapping[Path, Mapping[str, Any]],
    whole: Mapping[str, Any],
) -> str:
    """Return a part's info file.

    It leaves out what is not known for each file (the record counts).
    """
    left_out = ("records", "tokens", "trained_tokens", "files")
    content = {key: value for key, value in whole.items() if key not in left_out}
    content["num_samples"] = sum(rows[file] for file in files)
    if all(file in entries for file in files):
        content["files"] = [{**entries[file], "name": names[file]} for file in files]
    return sealed(content)


def _names(files: Sequence[Path], source: Path) -> dict[Path, str]:
    """Return the files' own names if they are unique, else with the folders that they are in."""
    if len({file.name for file in files}) == len(files):
        return {file: file.name for file in files}
    names = {file: "-".join(file.relative_to(source).parts) for file in files}
    first = dict[str, Path]()
    for file, name in names.items():
        if first.setdefault(name, file) != file:
            raise ValueError(
                f"{file} and {first[name]}: both would be {name} in a part; rename a folder"
            )
    return names


def _from(folder: Path, path: Path) -> str:
    real = path.parent.resolve() / path.name
    return Path(os.path.relpath(real, folder.resolve())).as_posix()
