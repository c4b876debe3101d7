"""Print an inspection to a terminal, or to a file instead."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jllm.data.format.record_counts import RecordCounts
from jllm.data.runtime.printable import as_rich_text, escape_control_chars
from jllm.data.runtime.tables import Column, print_at_width, print_table
from jllm.data.tools.inspect import summary
from jllm.data.tools.inspect.read_counts import SHOWN_EXAMPLES
from jllm.data.tools.inspect.report import Report
from jllm.data.tools.inspect.row_view import Run, ShownDocument, ShownRow
from jllm.data.tools.inspect.step import ShownStep
from jllm.data.tools.inspect.summary import Bar
from jllm.data.tools.inspect.truncate import excerpt

TRAINED, SPECIAL, BORDER = "bold green", "dim", "cyan"
MOST_BAR = 60
"""Columns of the longest bar."""


class Terminal:
    """Printer to a rich console; without colours, trained text is enclosed in ⟦ ⟧."""

    def __init__(self, console: Console, *, chars: int = 600) -> None:
        """`chars`: characters shown of a document's text (0: all)."""
        self._console, self._chars = console, chars
        self._colour = console.is_terminal and not console.no_color

    def report(self, report: Report) -> None:
        """Print everything."""
        self._heading(report.path)
        self._pairs(summary.totals(report))
        for note in report.notes:
            self._line(f"note: {note}")
        self._heading("Documents by length in ids")
        self._bars(summary.length_bars(report))
        self._line(summary.length_summary(report))
        self._heading("Rows by fill")
        self._bars(summary.fill_bars(report))
        self._heading("Supervised share per role")
        self._roles(report)
        self._heading("Account of records")
        self._account(report.account, summary.account_rows(report))
        if report.rows:
            self._heading(f"Rows ({self._legend()})")
        for row in report.rows:
            self.row(row)

    def row(self, row: ShownRow, lane: int | None = None) -> None:
        """Print a row's documents, each after a separator that gives its origin."""
        place = "" if lane is None else f"lane {lane}: "
        self._line(f"{place}{row.file}:{row.index}, {row.ids:,} ids", style="bold")
        for document in row.documents:
            border = f"── {document.origin}  {_counts(document)} "
            self._line(border, style=BORDER)
            if document.runs:
                self._console.print(self._text(document.runs), soft_wrap=True)

    def step(self, shown: ShownStep) -> None:
        """Print the rows of a step."""
        self._line(
            f"step {shown.step:,} (epoch {shown.epoch}, {shown.steps_per_epoch:,} steps an epoch), "
            f"seed {shown.seed}, {len(shown.rows):,} rows",
            style="bold",
        )
        for lane, row in enumerate(shown.rows):
            self.row(row, lane)

    def note(self, text: str) -> None:
        """Print a line."""
        self._line(text)

    def _roles(self, report: Report) -> None:
        if not report.roles:
            part = summary.share(report.tally.trained, report.tally.ids)
            self._line(f"not known: {report.no_roles}; of all ids {part:.2%} are trained")
            return
        role, ids, of_all, trained, of_its = zip(*summary.role_rows(report), strict=True)
        columns = [
            Column(name="role", cells=role, folds=9),
            Column(name="ids", cells=ids),
            Column(name="of all", cells=of_all, rank=1),
            Column(name="trained", cells=trained, rank=2),
            Column(name="of its ids", cells=of_its),
        ]
        print_table(self._console, columns)
        self._line("a turn's ids are its header, text and end of turn", style="dim")

    def _account(self, account: RecordCounts | None, rows: list[tuple[str, str]]) -> None:
        if account is None:
            self._line("the info files keep none (files by others)")
            return
        self._pairs(rows)
        for name, problem in account.dropped_examples[:SHOWN_EXAMPLES]:
            self._line(f"{name}:{problem.line}: {problem.reason}: {problem.detail}")

    def _legend(self) -> str:
        return "trained text is green" if self._colour else "trained text stands in ⟦ ⟧"

    def _text(self, runs: Sequence[Run]) -> Text:
        text, inside = Text(), False
        for run in excerpt(runs, self._chars):
            if run.trained != inside and not self._colour:
                text.append("⟦" if run.trained else "⟧")
            inside = run.trained
            style = TRAINED if run.trained else SPECIAL if run.special else ""
            text.append(escape_control_chars(run.text), style)
        return text.append("⟧" if inside and not self._colour else "")

    def _bars(self, bars: Sequence[Bar]) -> None:
        labels = max((len(bar.label) for bar in bars), default=0)
        counts = [f"{bar.count:,}  {bar.part:.1%}" for bar in bars]
        room = self._console.width - labels - max(map(len, counts), default=0) - 5
        room, longest = max(1, min(MOST_BAR, room)), max((bar.count for bar in bars), default=1)
        block = "#" if self._console.options.ascii_only else "█"
        gap = False
        for number, (bar, count) in enumerate(zip(bars, counts, strict=True)):
            if not any(near.count for near in bars[max(0, number - 1) : number + 2]):
                if not gap:
                    self._line(f"{'⋮':>{labels}}")
                gap = True
                continue
            gap = False
            length = -(-bar.count * room // longest)
            text = f"{bar.label:>{labels}} {block * length:<{room}} {count}"
            self._line(text.rstrip())

    def _pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        names = max((len(name) for name, _ in pairs), default=0)
        words = max((len(word) for _, value in pairs for word in value.split()), default=0)
        least, width = names + 1 + words, self._console.width
        if self._console.is_terminal and least > width:
            for name, value in pairs:
                self._line(f"{name}: {value}")
            return
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(min_width=words)
        for name, value in pairs:
            table.add_row(as_rich_text(name), as_rich_text(value))
        print_at_width(self._console, table, max(least, width))

    def _heading(self, text: str) -> None:
        self._console.print()
        self._line(text, style="bold")

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(as_rich_text(text, style), soft_wrap=True)


def _counts(document: ShownDocument) -> str:
    return f"{document.ids:,} ids, {document.trained:,} trained"
