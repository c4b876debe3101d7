"""Progress of a conversion, and the final table of its record counts."""

from __future__ import annotations

from collections.abc import Sequence

from jllm.data.convert.convert import ConvertedFile
from jllm.data.convert.encode_split import EncodedSplit
from jllm.data.records.input_files import Source
from jllm.data.records.splits import InputSplit
from jllm.data.runtime.progress import WorkProgress
from jllm.data.runtime.tables import Column, print_table

SHOWN = 10
"""Dropped records that are shown; the info file lists more."""


class ConversionReport:
    """A `convert.Reporter` that prints for the user."""

    def __init__(self, progress: WorkProgress) -> None:
        """`progress`: the display to write to."""
        self._progress = progress
        self._records = self._tokens = 0

    def begin(self, sources: Sequence[Source], taken: int = 0) -> None:
        """Start counting; called again if the conversion starts over.

        `taken`: bytes of the sources that were converted before.
        """
        sizes = [source.size for source in sources]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        self._records = self._tokens = 0
        self._progress.begin("converting", total, "bytes", done=taken)

    def advance(self, split: InputSplit, result: EncodedSplit) -> None:
        """Count a split and update the progress."""
        self._records += result.read
        self._tokens += result.tokens
        self._progress.advance(split.taken, self._rates())

    def note(self, text: str) -> None:
        """Print a line."""
        self._progress.note(f"note: {text}")

    def close(self, converted: Sequence[ConvertedFile], output: str) -> None:
        """Print the final table and the listed dropped records."""
        self._progress.end()
        self._progress.note(f"{output}: {self._rates()}")
        print_table(self._progress.console, _columns(converted))
        for one in converted:
            self._explain(one)

    def _explain(self, one: ConvertedFile) -> None:
        """Print counts of dropped and truncated records, and the first dropped records."""
        account = one.account
        for what, counts in (("dropped", account.dropped), ("truncated", account.truncated)):
            for reason, count in sorted(counts.items()):
                self.note(f"{one.source.relative}: {count:,} {what}: {reason}")
        if account.unused_keys:
            listed = ", ".join(f"{key} ({n:,})" for key, n in sorted(account.unused_keys.items()))
            self.note(f"{one.source.relative}: keys that were not used, with records: {listed}")
        for name, problem in account.dropped_examples[:SHOWN]:
            self.note(f"{name}:{problem.line}: {problem.reason}: {problem.detail}")
        if len(account.dropped_examples) > SHOWN:
            self.note(f"more of them are listed in {one.source.name}_info.json")

    def _rates(self) -> str:
        seconds = self._progress.seconds
        return (
            f"{self._records:,} records, {self._records / seconds:,.0f} records/s, "
            f"{self._tokens / seconds:,.0f} tokens/s"
        )


def _columns(converted: Sequence[ConvertedFile]) -> list[Column]:
    accounts = [one.account for one in converted]
    columns = [Column(name="file", cells=[one.source.relative for one in converted], folds=12)]
    for name, rank, cells in (
        ("records", 2, [f"{account.read:,}" for account in accounts]),
        ("written", 0, [f"{account.written:,}" for account in accounts]),
        ("rows", 0, [f"{one.rows:,}" for one in converted]),
        ("fill", 3, [f"{one.fill:.2%}" for one in converted]),
        ("tokens", 0, [f"{account.tokens:,}" for account in accounts]),
        ("trained", 1, [f"{account.trained_tokens:,}" for account in accounts]),
    ):
        columns.append(Column(name=name, rank=rank, cells=cells))
    return columns
