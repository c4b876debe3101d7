"""A command's settings as keywords of a function: checked, and named in errors."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import inspect
import numbers
import operator
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Config = TypeVar("Config")
Function = TypeVar("Function", bound=Callable[..., Any])


def config_of(config_type: type[Config], values: Mapping[str, Any]) -> Config:
    """Return `config_type(**values)`, with each value of its field's type.

    Paths are accepted for string fields, whole numbers (numpy's too) for int and float fields.
    Raises ValueError that names an unknown keyword and the nearest known one, a missing keyword, or
    a keyword whose value has another type.
    """
    fields = {field.name: field for field in dataclasses.fields(config_type)}  # type: ignore
    for name in values:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            raise ValueError(
                f"{name}: no such keyword" + (f"; did you mean {near[0]}?" if near else "")
            )
    for name, field in fields.items():
        if name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{name}: is missing")
    kinds = get_type_hints(config_type)
    return config_type(**{name: _value(name, kinds[name], found) for name, found in values.items()})


def accepts(config_type: type) -> Callable[[Function], Function]:
    """Show the fields of `config_type` in the signature of a function with `**settings`."""

    def decorate(function: Function) -> Function:
        signature, kinds = inspect.signature(function), get_type_hints(config_type)
        shown = {n: p for n, p in signature.parameters.items() if p.kind is not p.VAR_KEYWORD}
        for field in dataclasses.fields(config_type):
            if field.name not in shown:
                required = field.default is dataclasses.MISSING
                shown[field.name] = inspect.Parameter(
                    field.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=inspect.Parameter.empty if required else field.default,
                    annotation=kinds[field.name],
                )
        made: Any = function
        made.__signature__ = signature.replace(parameters=list(shown.values()))
        return function

    return decorate


@contextlib.contextmanager
def keywords_in_errors(config_type: type) -> Iterator[None]:
    """Make a ValueError within it name keywords, not flags: `max_len 1: …` for `--max_len 1: …`."""
    names = "|".join(field.name for field in dataclasses.fields(config_type))
    try:
        yield
    except ValueError as error:
        if len(error.args) == 1 and isinstance(error.args[0], str):
            error.args = (re.sub(rf"--(?=(?:{names})\b)", "", error.args[0]),)
        raise


def _value(name: str, kind: Any, found: Any) -> Any:
    """Return `found` as a value of the type `kind`."""
    if get_origin(kind) in (Union, UnionType):
        inner = [one for one in get_args(kind) if one is not NoneType]
        if found is None:
            return None
        assert len(inner) == 1, kind
        return _value(name, inner[0], found)
    if get_origin(kind) is Literal:
        if found not in get_args(kind):
            raise ValueError(
                f"{name} is {found!r}, expected one of {', '.join(map(repr, get_args(kind)))}"
            )
        return found
    if get_origin(kind) is tuple and isinstance(found, (str, os.PathLike, Iterable)):
        some = (found,) if isinstance(found, (str, os.PathLike)) else tuple(found)
        return tuple(_value(name, get_args(kind)[0], one) for one in some)
    if kind is str and isinstance(found, (str, os.PathLike)):
        return str(os.fspath(found))
    number = isinstance(found, numbers.Real) and not isinstance(found, bool)
    if kind is float and number:
        return float(found)
    if kind is int and number:
        whole: Any = found
        with contextlib.suppress(TypeError):
            return operator.index(whole)
    if kind is bool and isinstance(found, bool):
        return found
    raise ValueError(f"{name} is {found!r}, expected {_NAMES.get(kind, kind)}")


_NAMES = {
    str: "a string or a path",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
}
