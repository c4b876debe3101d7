"""The list of commands that `jllm` prints, in 80 columns."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jllm.cli.commands import GROUPS


def print_commands() -> None:
    """Print every command with its description and package, and how to install missing ones."""
    console = Console(highlight=False)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    missing = {}
    for group, commands in GROUPS.items():
        table.add_row(Text(group, style="bold"))
        for command in commands:
            package = command.package
            if package.is_installed:
                where = Text(package.name, style="dim")
            else:
                where = Text(f"{package.name} *", style="yellow")
                missing[package.name] = package.install
            table.add_row(Text(f"  {command.name}"), Text(command.about), where)
    console.print("Usage: jllm COMMAND …      `jllm COMMAND --help` explains it\n", markup=False)
    console.print(table)
    if missing:
        console.print("\n* not installed:", markup=False)
    for name, install in missing.items():
        console.print(f"  {name + ':':14} {install}", markup=False, soft_wrap=True)
