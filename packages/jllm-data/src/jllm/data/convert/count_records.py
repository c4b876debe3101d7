"""Count the records of a conversion, and make the errors of records that stop it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jllm.data.convert.encode_split import EncodedSplit
from jllm.data.format.record_counts import MAX_EXAMPLES, Problem, RecordCounts
from jllm.data.records.input_files import Source


class BadRecord(ValueError):
    """An unusable record that stops the conversion, with its file and line."""


def bad_record(path: Path, problem: Problem) -> BadRecord:
    """Return the error for a record that stops the conversion."""
    return BadRecord(
        f"{path}:{problem.line}: {problem.reason}: {problem.detail} "
        "(--on_error skip drops such records, and counts and lists them)"
    )


def no_records_error(given: str, accounts: Sequence[RecordCounts]) -> ValueError:
    """Return the error for an input without a usable record."""
    dropped = sum((account.dropped for account in accounts), Counter[str]())
    first = next((one for account in accounts for one in account.dropped_examples), None)
    what = ", ".join(f"{count:,} × {reason}" for reason, count in dropped.most_common())
    if first is not None:
        name, problem = first
        what += f"; the first, {name}:{problem.line}: {problem.detail}"
    return ValueError(
        f"--input {given}: no record is left to write; dropped: {what or 'none, there were none'}"
    )


def count_result(
    account: RecordCounts, source: Source, result: EncodedSplit, *, stop: bool
) -> None:
    """Add the records of a split to `account`.

    Raises BadRecord for the first fatal problem if `stop`.
    """
    account.read += result.read
    account.truncated += result.truncated
    account.add_unused(result.unused)
    account.tokens += result.tokens
    account.trained_tokens += result.trained
    for problem in result.problems:
        if stop and problem.fatal:
            raise bad_record(source.path, problem)
        account.dropped[problem.reason] += 1
        if len(account.dropped_examples) < MAX_EXAMPLES:
            account.dropped_examples.append((source.relative, problem))
