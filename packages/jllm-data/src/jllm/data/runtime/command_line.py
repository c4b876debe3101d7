"""The frame of every command: flags, one-line errors, signals, exit codes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tyro
from rich.console import Console

from jllm.data.runtime.printable import escape_control_chars
from jllm.data.runtime.progress import WorkProgress
from jllm.data.runtime.signals import StopSignals

Config = TypeVar("Config")


def run_command(
    config_type: type[Config],
    work: Callable[[Config, WorkProgress], int],
    *,
    prog: str,
    description: str,
    arguments: Sequence[str] | None,
    stopped: str = "nothing was written",
) -> int:
    """Do as `run_guarded`, for work that shows its progress."""

    def shown(config: Config, stop: StopSignals) -> int:
        with WorkProgress(Console(), stop.check) as progress:
            return work(config, progress)

    return run_guarded(
        config_type,
        shown,
        prog=prog,
        description=description,
        arguments=arguments,
        stopped=stopped,
    )


def run_guarded(
    config_type: type[Config],
    work: Callable[[Config, StopSignals], int],
    *,
    prog: str,
    description: str,
    arguments: Sequence[str] | None,
    stopped: str,
) -> int:
    """Read the flags, do `work`, and return the exit code.

    The exit code is what `work` returns; 2 for errors that the user can fix (ValueError, OSError),
    with one line on standard error; 130 after Ctrl-C and 143 after SIGTERM, with the message
    `stopped`. `prog`: the command's name in --help. `arguments`: None for those of the process,
    which then belongs to the command alone.
    """
    config = tyro.cli(
        config_type,
        prog=prog,
        description=description,
        args=arguments,
        use_underscores=True,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    quiet_libraries()
    if arguments is None:
        leave_torch_out()
    stop = StopSignals()
    try:
        return work(config, stop)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {escape_control_chars(_said(error))}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"error: stopped; {stopped}\n")
        return 128 + (stop.received or signal.SIGINT)


def _said(error: ValueError | OSError) -> str:
    """Return the error message, with the file concerned."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def quiet_libraries() -> None:
    """Keep libraries that are imported later from printing messages of no use to the user."""
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")


def leave_torch_out() -> None:
    """Hide torch from Transformers in this process.

    Where torch is installed, Transformers imports it with the first tokenizer (1.5 s). Tokenizers
    and chat templates do not need it, and jllm-data does not require it.
    """
    modules: Any = sys.modules
    modules.setdefault("torch", None)
