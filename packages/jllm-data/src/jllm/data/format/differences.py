"""Differences between the statements of two footers, data sets or info files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def differences(
    one: Mapping[str, Any], other: Mapping[str, Any], *, but: Iterable[str] = ()
) -> list[str]:
    """Return `key: value and other value` for each key that differs, except the keys in `but`.

    A missing key counts as None.
    """
    keys = [key for key in {**one, **other} if key not in set(but)]
    return [
        f"{key}: {one.get(key)!r} and {other.get(key)!r}"
        for key in keys
        if one.get(key) != other.get(key)
    ]
