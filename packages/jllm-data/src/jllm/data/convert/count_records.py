"""Counting the records of a conversion, and the errors of records that stop it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jllm.data.convert.encode_split import UnitResult
from jllm.data.format.record_counts import LISTED, Account, Problem
from jllm.data.records.input_files import Source


class BadRecord(ValueError):
    """A record that cannot be used, with its file and line, where that stops the conversion."""


def bad_record(path: Path, problem: Problem) -> BadRecord:
    """The error of a record that stops the conversion."""
    return BadRecord(
        f"{path}:{problem.line}: {problem.reason}: {problem.detail} "
        "(--on_error skip drops such records, and counts and lists them)"
    )


def nothing_left(given: str, accounts: Sequence[Account]) -> ValueError:
    """The error of an input of which nothing can be written."""
    dropped = sum((account.dropped for account in accounts), Counter[str]())
    first = next((one for account in accounts for one in account.listed), None)
    what = ", ".join(f"{count:,} × {reason}" for reason, count in dropped.most_common())
    if first is not None:
        name, problem = first
        what += f"; the first, {name}:{problem.line}: {problem.detail}"
    return ValueError(
        f"--input {given}: no record is left to write; dropped: {what or 'none, there were none'}"
    )


def count_result(account: Account, source: Source, result: UnitResult, *, stop: bool) -> None:
    """Add the records of a split to `account`.

    Raises BadRecord for the first fatal problem, if `stop`.
    """
    account.read += result.read
    account.truncated += result.truncated
    account.tokens += result.tokens
    account.trained_tokens += result.trained
    for problem in result.problems:
        if stop and problem.fatal:
            raise bad_record(source.path, problem)
        account.dropped[problem.reason] += 1
        if len(account.listed) < LISTED:
            account.listed.append((source.relative, problem))
