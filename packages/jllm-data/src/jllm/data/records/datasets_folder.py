"""Folders written by the library `datasets`: which of their Arrow files hold the data set.

`save_to_disk` writes `state.json`, which lists the files, and `dataset_info.json`. With several
splits, each has its own folder beside `dataset_dict.json`. Splits are never read together, because
that would train on held-out data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STATE, INFO, SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"


def is_datasets_folder(folder: Path) -> bool:
    """Return whether `datasets` wrote the folder."""
    return (folder / SPLITS).is_file() or (
        (folder / INFO).is_file() and any(folder.glob("*.arrow"))
    )


def arrow_files(folder: Path) -> list[Path]:
    """Return the files of the data set, in order.

    Raises ValueError where the folder holds several splits, or rows whose order differs from the
    order in which they are stored.
    """
    if (folder / SPLITS).is_file():
        names = _read(folder / SPLITS).get("splits", [])
        raise ValueError(
            f"{folder}: holds the splits {', '.join(map(str, names))}; name the folder of one"
        )
    if not (folder / STATE).is_file():
        splits = _read(folder / INFO).get("splits") or {}
        if len(splits) > 1:
            raise ValueError(
                f"{folder}: holds the splits {', '.join(map(str, splits))}; put the "
                "Arrow files of one into a folder of their own"
            )
        return sorted(folder.glob("*.arrow"))
    state = _read(folder / STATE)
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise ValueError(
            f"{folder}: keeps the order of its rows in a file of its own; save it anew with "
            "datasets 2 or later (flatten_indices)"
        )
    try:
        files = [folder / Path(one["filename"]).name for one in state["_data_files"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / STATE}: names no data files ({error!r})") from error
    if missing := [file.name for file in files if not file.is_file()]:
        raise ValueError(f"{folder / STATE}: names {missing[0]}, which is not there")
    return files


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected an object")
    return found
