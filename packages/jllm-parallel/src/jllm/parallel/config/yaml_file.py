"""The --config file: a YAML mapping of flags, checked key by key."""

import difflib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml


def flags_of_file(path: Path, kinds: Mapping[str, Any]) -> Iterator[str]:
    """Turn the file into flags of a command line; a key without a value says nothing.

    Args:
        path: the file.
        kinds: the type of every flag: bool, int, float, str or a Literal of strings.

    Raises:
        ValueError: no YAML, no mapping, a key that is unknown or there twice, a value of another
            type.
        OSError: the file cannot be read.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except yaml.YAMLError as e:
        raise ValueError(f"--config {path}: not valid YAML: {e}") from e
    except ValueError as e:  # a key twice, or a date such as 2024-13-01
        raise ValueError(f"--config {path}: {e}") from e
    if not isinstance(values, Mapping):
        found = type(values).__name__
        raise ValueError(f"--config {path}: expected `key: value` lines, found {found}")
    for key, value in values.items():
        if key not in kinds:
            near = difflib.get_close_matches(str(key), kinds, n=1)
            mend = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"--config {path}: unknown key {key!r}{mend}")
        if value is None:
            continue
        if wanted := _expected(kinds[key], value):
            raise ValueError(f"--config {path}: {key}: expected {wanted}, found {value!r}")
        if isinstance(value, bool):
            yield f"--{key}" if value else f"--no_{key}"
        else:
            yield f"--{key}={value}"


def _expected(kind: Any, value: object) -> str:
    """Say what a value should have been; "" where it is right."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is bool:
        return "" if isinstance(value, bool) else "true or false"
    if kind is int:
        return "" if number and isinstance(value, int) else "a whole number"
    if kind is float:  # YAML takes 1e-5 for text
        return "" if number or isinstance(value, str) and _is_number(value) else "a number"
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        return "" if value in choices else f"one of {', '.join(choices)}"
    return "" if number or isinstance(value, str) else "one value, a text"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class _Loader(yaml.SafeLoader):
    """YAML's safe types; a key that is there twice is an error instead of the last one winning."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Make a mapping of a node."""
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise ValueError(f"line {key.start_mark.line + 1}: {key.value} is there twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)
