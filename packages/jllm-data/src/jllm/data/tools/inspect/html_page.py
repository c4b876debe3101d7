"""Write the report as one page: inline pictures, no script, nothing fetched, light and dark.

All data is escaped, and the page's content policy forbids loading or running anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from jllm.data.runtime.printable import escape_control_chars
from jllm.data.tools.inspect import summary, svg
from jllm.data.tools.inspect.html_style import STYLE
from jllm.data.tools.inspect.read_counts import SHOWN_EXAMPLES
from jllm.data.tools.inspect.report import Report
from jllm.data.tools.inspect.row_view import Run, ShownRow
from jllm.data.tools.inspect.summary import Bar
from jllm.data.tools.inspect.truncate import excerpt


def write_page(report: Report, path: Path, *, chars: int = 600) -> None:
    """Write the page; it appears under its name only when complete. Raises OSError."""
    if path.is_dir():
        raise ValueError(f"--html {path}: is a folder, expected a file such as report.html")
    waiting = path.with_name(f".{path.name}.writing")
    waiting.write_text(page(report, chars=chars), encoding="utf-8")
    os.replace(waiting, path)


def page(report: Report, *, chars: int = 600) -> str:
    """Return the page's text. `chars`: characters shown of a document's text (0: all)."""
    title = _text(f"{Path(report.path).name}: what the data set holds")
    notes = "".join(f'<p class="note">{_text(note)}</p>' for note in report.notes)
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{title}</title><style>{STYLE}</style></head><body><main>",
            f"<header><h1>{title}</h1><p>{_text(report.path)}</p></header>",
            notes,
            _section("totals", "Totals", _pairs(summary.totals(report))),
            '<div class="two">',
            _section(
                "lengths",
                "Documents by length",
                svg.columns(
                    summary.length_bars(report), "Documents by length in ids", "ids, from … on"
                ),
                f"<p>{_text(summary.length_summary(report))}</p>",
                _bars("ids", "documents", summary.length_bars(report)),
            ),
            _section(
                "fill",
                "Rows by fill",
                svg.columns(summary.fill_bars(report), "Rows by fill", "per cent, from … on"),
                f"<p>{report.fill:.2%} of all places hold an id of a document</p>",
                _bars("fill", "rows", summary.fill_bars(report)),
            ),
            "</div>",
            _section("roles", "Supervised share per role", _roles(report)),
            _section("account", "Account of records", _account(report)),
            _section("rows", "Rows", *_rows(report.rows, chars)),
            "</main></body></html>\n",
        ]
    )


def _section(name: str, title: str, *parts: str) -> str:
    inside = "\n".join(parts)
    return f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">' \
           f"{title}</h2>\n{inside}</section>"  # fmt: skip


def _roles(report: Report) -> str:
    if not report.roles:
        trained = summary.share(report.tally.trained, report.tally.ids)
        return f"<p>not known: {_text(report.no_roles)}; of all ids {trained:.2%} are trained</p>"
    rows = []
    for one, cells in zip(report.roles, summary.role_rows(report), strict=True):
        part = summary.share(one.trained, one.ids)
        bar = svg.share_bar(part, f"{one.role}: {part:.2%} trained")
        rows.append(f"{_cells(cells)}<td>{bar}</td>")
    names = ("role", "ids", "of all", "trained", "of its ids", "")
    told = "<p>A turn's ids are its header, text and end of turn.</p>"
    return _table(names, rows) + told


def _account(report: Report) -> str:
    account = report.account
    if account is None:
        return "<p>The info files keep none (files by others).</p>"
    listed = "".join(
        f"<li>{_text(f'{name}:{one.line}: {one.reason}: {one.detail}')}</li>"
        for name, one in account.dropped_examples[:SHOWN_EXAMPLES]
    )
    return _pairs(summary.account_rows(report)) + (f"<ul>{listed}</ul>" if listed else "")


def _rows(rows: Sequence[ShownRow], chars: int) -> Iterable[str]:
    yield '<p><mark>Trained text</mark> is marked, <span class="special">special tokens</span> '
    yield "are pale, a line stands before every document.</p>"
    for row in rows:
        yield f"<h3>{_text(f'{row.file}:{row.index}')} <small>{row.ids:,} ids</small></h3>"
        for document in row.documents:
            counts = f"{document.ids:,} ids, {document.trained:,} trained"
            yield f'<h4>{_text(document.origin)} <small>{counts}</small></h4><pre dir="auto">'
            yield "".join(map(_run, excerpt(document.runs, chars))) + "</pre>"


def _run(run: Run) -> str:
    text = _text(run.text)
    if run.trained:
        return f"<mark>{text}</mark>"
    return f'<span class="special">{text}</span>' if run.special else text


def _bars(of: str, what: str, bars: Sequence[Bar]) -> str:
    rows = [_cells((bar.label, f"{bar.count:,}", f"{bar.part:.1%}")) for bar in bars]
    return f"<details><summary>as a table</summary>{_table((of, what, 'part'), rows)}</details>"


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in pairs)
    return f"<dl>{rows}</dl>"


def _table(names: Sequence[str], rows: Iterable[str]) -> str:
    heads = "".join(f'<th scope="col">{_text(name)}</th>' for name in names)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _cells(cells: Sequence[str]) -> str:
    first, *others = cells
    rest = "".join(f"<td>{_text(cell)}</td>" for cell in others)
    return f'<th scope="row">{_text(first)}</th>{rest}'


def _text(text: str) -> str:
    return escape(escape_control_chars(text))
