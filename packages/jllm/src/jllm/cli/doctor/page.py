"""The doctor's findings as a table, and as JSON."""

import dataclasses
import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jllm.cli.doctor.finding import Finding

STYLES = {"found": "", "missing": "dim", "broken": "bold red"}
MARKS = {"found": "", "missing": "-", "broken": "!"}


def print_page(findings: Sequence[Finding], console: Console) -> None:
    """Print the findings, a line or two each at 80 columns, and then how to mend problems."""
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    group = ""
    for finding in findings:
        if finding.group != group:
            table.add_row("", Text(finding.group, style="bold"), "")
            group = finding.group
        style = STYLES[finding.state]
        detail = Text(finding.detail, style=style)
        table.add_row(MARKS[finding.state], Text(f"  {finding.name}", style=style), detail)
    console.print(table)
    _print_mends([f for f in findings if f.mend and f.state == "broken"], "! broken:", console)
    _print_mends([f for f in findings if f.mend and f.state != "broken"], "- to add:", console)


def _print_mends(findings: Sequence[Finding], title: str, console: Console) -> None:
    if not findings:
        return
    console.print(f"\n{title}")
    for finding in findings:
        line = f"  {finding.name + ':':15} {finding.mend}"
        console.print(line, markup=False, soft_wrap=True)


def as_json(findings: Sequence[Finding]) -> str:
    """Return {"findings": [...], "broken": number of broken ones}."""
    broken = sum(finding.state == "broken" for finding in findings)
    told = [dataclasses.asdict(finding) for finding in findings]
    return json.dumps({"broken": broken, "findings": told}, indent=2)
