"""What every command does around its work: flags, errors of one line, signals, exit codes."""

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
    """Return `run_guarded` for work that shows how far it is."""

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

    What `work` returns; 2 for what the user can mend (ValueError, OSError), with one line on
    standard error; 130 after Ctrl-C, 143 after SIGTERM, saying `stopped`. `prog`: how --help calls
    the command. `arguments`: None for those of the process, which is then the command's own.
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
    """Return what went wrong, and with which file."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def quiet_libraries() -> None:
    """Keep libraries that are imported later from printing what is none of the user's business."""
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")


def leave_torch_out() -> None:
    """Let Transformers find no torch in this process.

    Where torch is installed, Transformers imports it with the first tokenizer (1.5 s); tokenizers
    and chat templates need none, and jllm-data is installed without.
    """
    modules: Any = sys.modules
    modules.setdefault("torch", None)
