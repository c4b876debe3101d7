"""Reduce an error from Spark to one line; Spark itself logs all of it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

_PYTHON = re.compile(r"^(?:\w+\.)*(?P<kind>\w+): (?P<said>.+)$", re.MULTILINE)
_JAVA = re.compile(r"^(?:: |Caused by: )(?:(?:[a-z][\w$]*\.)+\w+: )*(?P<said>.+)$", re.MULTILINE)
_NO_NEWS = re.compile(r"\s*SQLSTATE: \w+|^Job aborted due to stage failure: |^\[[A-Z_.]+\] ")

_OF_INPUT = ("BadRecord", "EncodersDiffer", "ValueError")
"""Errors whose message already tells the user what to do."""


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Raise ValueError for what a task found wrong with the input, OSError for other failures."""
    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise explanation(str(error)) from error


def explanation(text: str) -> Exception:
    """Return the error behind Spark's `text`: a Java or Python traceback, or a line."""
    if "JAVA_GATEWAY_EXITED" in text:
        return ValueError("Spark does not start; it needs Java 17, on PATH or at JAVA_HOME")
    if "Traceback (most recent call last):" in text:
        found = _PYTHON.findall(text.partition("Traceback (most recent call last):")[2])
        if found:
            kind, said = found[-1]
            return ValueError(said if kind in _OF_INPUT else f"{kind}: {said}")
    lines = [_NO_NEWS.sub("", line).strip() for line in _JAVA.findall(text)] or [text.strip()]
    cause = f" ({lines[-1]})" if lines[-1] not in lines[0] else ""
    return OSError(f"Spark: {lines[0]}{cause}")
