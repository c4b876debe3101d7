"""Dispatch of the command `jllm` by its first argument; adds a few milliseconds to a command."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import NoReturn

from jllm.cli import __version__
from jllm.cli.commands import Command, find, nearest


def main() -> NoReturn:
    """List the commands, or run one in this process and exit with its code.

    Exits with 2 for an unknown command, or one whose package is not installed.
    """
    name, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name in ("--help", "-h", "help"):
        from jllm.cli.listing import print_commands

        print_commands()
        sys.exit(0)
    if name == "--version":
        sys.stdout.write(f"jllm {__version__}\n")
        sys.exit(0)
    command = find(name)
    if command is None:
        near = nearest(name)
        mend = f"did you mean `jllm {near}`?" if near else "`jllm` lists all of them"
        _refuse(f"jllm has no command {name!r}; {mend}")
    run = _main_of(command)
    # The command reads sys.argv as usual, and behaves as if started by itself.
    sys.argv = [f"jllm {command.name}", *arguments]
    sys.exit(run(prog=f"jllm {command.name}"))


def _main_of(command: Command) -> Callable[..., int | None]:
    """Import a command's `main`, or say what must be installed and exit."""
    called = f"jllm {command.name}"
    if not command.package.is_installed:
        package = command.package
        _refuse(f"{called} is part of {package.name}, which is not installed: {package.install}")
    try:
        return import_module(command.module).main
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "jllm":
            raise
        _refuse(f"{called} needs {error.name}, which is not installed: {command.package.install}")


def _refuse(why: str) -> NoReturn:
    sys.stderr.write(f"error: {why}\n")
    sys.exit(2)
