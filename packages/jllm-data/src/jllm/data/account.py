"""The account of input records: read = written + Σ dropped, nothing disappears silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jllm.data.records import Problem
from jllm.data.sources import Source
from jllm.data.unit_work import UnitResult

LISTED = 100
"""Dropped records that are listed with their line; the rest are counted."""


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


@dataclass(kw_only=True)
class Account:
    """What became of the records of one input file."""

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    truncated: Counter[str] = field(default_factory=Counter)
    listed: list[tuple[str, Problem]] = field(default_factory=list)
    """The first dropped records: the file's name below --input and what was wrong."""
    tokens: int = 0
    """Ids of the documents that were written; overlaps and padding are not counted."""
    trained_tokens: int = 0

    @property
    def written(self) -> int:
        """Records of which something was written."""
        return self.read - sum(self.dropped.values())

    def tree(self) -> dict[str, Any]:
        """The account as plain values, for `account_of`."""
        listed = [(name, vars(problem)) for name, problem in self.listed]
        return vars(self) | {"listed": listed}


def count_result(account: Account, source: Source, result: UnitResult, *, stop: bool) -> None:
    """Add the records of a split to `account`. Raises BadRecord for the first fatal one, if `stop`."""
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


def account_of(tree: dict[str, Any]) -> Account:
    """The account of which this is the `tree`."""
    values = dict(tree)
    values |= {name: Counter(tree[name]) for name in ("dropped", "truncated")}
    values["listed"] = [(name, Problem(**problem)) for name, problem in tree["listed"]]
    return Account(**values)
