"""The command `jllm.train_pipe`: checks, sets up, trains, and reports mistakes in one line."""

import sys
from collections.abc import Sequence

from rich.console import Console

from jllm.parallel.config.config import TrainConfig, parse
from jllm.parallel.config.implied import with_implied
from jllm.parallel.config.layout import layout
from jllm.parallel.distributed.launch import Launch

STOPPED = 143
"""Exit code after a signal, as of a process that SIGTERM ended."""


def run(arguments: Sequence[str] | None = None, *, prog: str = "python -m jllm.train_pipe") -> int:
    """Runs the command line.

    Returns:
        The exit code: 0, 2 for a mistake the user can mend, 143 after SIGTERM or SIGINT.
    """
    launch = Launch.from_environment()
    checked = False
    try:
        config = with_implied(parse(arguments, prog=prog))
        layout(config, launch.world_size)
        checked = True
        return 0 if train(config) else STOPPED
    except KeyboardInterrupt:  # before the training, which stops by itself
        return STOPPED
    except (ValueError, OSError) as error:
        # Every process finds the same wrong flag; one of them says so.
        if checked or launch.rank == 0:
            where = f" (process {launch.rank})" if launch.world_size > 1 and checked else ""
            console = Console(stderr=True, highlight=False, soft_wrap=True)
            for line in str(error).splitlines():
                console.print(f"error{where}: {line}", markup=False)
        sys.stderr.flush()
        return 2


def train(config: TrainConfig) -> bool:
    """Runs a configuration in this process, one of those that the launcher started.

    Returns:
        Whether it came to the end; a signal stops it after a step.

    Raises:
        ValueError: an input is wrong.
        OSError: a file cannot be read or written.
    """
    from jllm.parallel.training.raw_data import with_converted_data

    launch = Launch.from_environment()
    config = with_converted_data(with_implied(config), launch)
    from jllm.parallel.training.job import run_job

    return run_job(config, launch).ended
