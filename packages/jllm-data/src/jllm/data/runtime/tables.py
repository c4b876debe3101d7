"""Tables for terminals of any width: columns may be left out, but numbers are never broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.segment import Segments
from rich.table import Table

from jllm.data.runtime.printable import as_rich_text


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    name: str
    cells: Sequence[str]
    rank: int = 0
    """0: always shown; of the others, the highest is left out first on a narrow terminal."""
    folds: int = 0
    """The least width to which its text may be folded; 0: numbers, which are shown whole."""

    @property
    def width(self) -> int:
        """The width of its longest text."""
        return max(as_rich_text(text).cell_len for text in (self.name, *self.cells))

    @property
    def least(self) -> int:
        """The least width at which all of it can be shown."""
        return min(self.folds, self.width) if self.folds else self.width


def print_table(console: Console, columns: Sequence[Column]) -> None:
    """Print the columns that fit and name the others; a file has no width and gets all.

    Where those of rank 0 do not fit, every row is printed as lines of name and value.
    """
    limit = console.width if console.is_terminal else None
    shown = list(columns)
    while limit is not None and _width(console, shown, least=True) > limit:
        worst = max(shown, key=lambda column: column.rank)
        if not worst.rank:
            _print_lines(console, columns)
            return
        shown = [column for column in shown if column is not worst]
    table = _table(shown, None if limit is None else limit - _width(console, shown, least=True))
    print_at_width(console, table, limit or _width(console, shown, least=False))
    if len(shown) < len(columns):
        names = ", ".join(column.name for column in columns if column not in shown)
        console.print(f"a wider terminal also shows: {names}", style="dim", markup=False)


def print_at_width(console: Console, table: Table, width: int) -> None:
    """Print a table at a width that may exceed the console's, as for files."""
    options = console.options.update(width=width)
    console.print(Segments(console.render(table, options)), crop=False, end="")


def _table(columns: Sequence[Column], spare: int | None) -> Table:
    """Build the table; `spare`: the columns left for folded text, None for as many as needed."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        wanted = column.width if spare is None else min(column.width, column.least + spare)
        if spare is not None:
            spare -= wanted - column.least
        table.add_column(
            column.name,
            justify="left" if column.folds else "right",
            overflow="fold",
            width=wanted,
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(as_rich_text, row))
    return table


def _width(console: Console, columns: Sequence[Column], *, least: bool) -> int:
    options = console.options.update(width=1 << 20)
    return Measurement.get(console, options, _table(columns, 0 if least else None)).maximum


def _print_lines(console: Console, columns: Sequence[Column]) -> None:
    for row in zip(*(column.cells for column in columns), strict=True):
        console.print()
        for column, cell in zip(columns, row, strict=True):
            console.print(as_rich_text(f"{column.name} {cell}"), soft_wrap=True)
