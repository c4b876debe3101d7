"""Consistency of the info files and footers of one folder: contradictions are errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from jllm.data.format.differences import differences
from jllm.data.format.info import Info
from jllm.data.reading.footer import Footer
from jllm.data.storage.paths import Location


def check_consistent(footers: Sequence[Footer]) -> None:
    """Raise ValueError, naming both files, where two cannot be read as one data set."""
    first = footers[0]
    expected = _kept_alike(first)
    for footer in footers[1:]:
        if found := differences(_kept_alike(footer), expected):
            raise ValueError(
                f"{footer.path} and {first.path} differ in {found[0]}; keep data of one kind, "
                "max_len and tokenizer in one folder"
            )


def _kept_alike(footer: Footer) -> dict[str, Any]:
    return {"kind and columns": (footer.kind, footer.fields), "metadata": footer.metadata}


def check_infos(
    infos: Sequence[Info], footers: Sequence[Footer]
) -> dict[tuple[Location, int], str]:
    """Return the digest of each (file, row group) that the info files list.

    Raises ValueError that names where they disagree with the footers.
    """
    found = {footer.path: footer for footer in footers}
    digests = {}
    for info in infos:
        missing = sorted(set(info.fields) - set(footers[0].columns))
        if missing:
            raise ValueError(
                f"{info.path}: states the column {missing[0]!r}, {footers[0].path} has only "
                f"{', '.join(footers[0].columns)}"
            )
        _check_stated(info, footers[0])
        for path, listed in info.listed.items():
            footer = found.get(path)
            if footer is None:
                raise ValueError(f"{path}: missing, but listed in {info.path}")
            rows = [group.num_samples for group in listed.row_groups]
            if rows != list(footer.group_rows):
                raise ValueError(
                    f"{path}: has {footer.num_rows} rows in {len(footer.group_rows)} row "
                    f"groups, {info.path} states {listed.num_samples} in {len(rows)}: one of them "
                    "is of another conversion; convert again"
                )
            digests |= {(path, i): group.digest for i, group in enumerate(listed.row_groups)}
    stated, held = sum(info.num_samples for info in infos), sum(f.num_rows for f in footers)
    if stated != held:
        raise ValueError(
            f"{_names(info.path for info in infos)}: num_samples is {stated}, the {len(footers)} "
            f"parquet files hold {held} rows{_unlisted(infos, footers)}"
        )
    return digests


def stated_alike(infos: Sequence[Info]) -> dict[str, Any]:
    """Return the info files' statements about files without metadata (Spark writes such files)."""
    stated: dict[str, Any] = {}
    for info in infos:
        for key, value in info.stated.items():
            if stated.setdefault(key, value) != value:
                raise ValueError(
                    f"{info.path}: {key} is {value!r}, {infos[0].path} states {stated[key]!r}; "
                    "keep data of one kind and tokenizer in one folder"
                )
    return stated


def _check_stated(info: Info, footer: Footer) -> None:
    for key, value in info.stated.items():
        here = footer.kind if key == "kind" else getattr(footer.metadata, key, value)
        if value != here:
            raise ValueError(
                f"{info.path}: {key} is {value!r}, {footer.path} has {here!r}: one of them is of "
                "another conversion; convert again"
            )


def _unlisted(infos: Sequence[Info], footers: Sequence[Footer]) -> str:
    listed = {path for info in infos for path in info.listed}
    files = [footer.path for footer in footers if footer.path not in listed]
    return f"; no info file lists {_names(files)}" if listed and files else ""


def _names(paths: Iterable[Location]) -> str:
    names = [str(path) for path in paths]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
