"""The command `jllm.train_pipe`: checks, sets up, trains, and reports mistakes in one line."""

import sys
from collections.abc import Callable, Collection, Sequence

from rich.console import Console

from jllm.parallel.config.config import TrainConfig, parse, typed_flags
from jllm.parallel.config.layout import layout
from jllm.parallel.distributed.launch import Launch
from jllm.parallel.training.start import planned, prepared

STOPPED = 143
"""Exit code after a signal, as of a process that SIGTERM ended."""


def run(arguments: Sequence[str] | None = None, *, prog: str = "python -m jllm.train_pipe") -> int:
    """Run the command line.

    Returns:
        The exit code: 0, 2 for a mistake the user can mend, 143 after SIGTERM or SIGINT.
    """
    launch = Launch.from_environment()
    checked = False
    try:
        config = parse(arguments, prog=prog)
        config = prepared(config, typed_flags(arguments), _say_on(launch))
        launch = planned(config, launch)
        layout(config, launch.world_size)
        checked = True
        return 0 if _train(config, launch) else STOPPED
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


def train(config: TrainConfig, typed: Collection[str] | None = None) -> bool:
    """Run a configuration in this process, one of those that the launcher started.

    Args:
        config: what to do.
        typed: names of the settings that somebody chose; a run that is resumed takes the others
            from its checkpoint. None: all were chosen.

    Returns:
        Whether it came to the end; a signal stops it after a step.

    Raises:
        ValueError: an input is wrong.
        OSError: a file cannot be read or written.
    """
    launch = Launch.from_environment()
    config = prepared(config, typed, _say_on(launch))
    return _train(config, planned(config, launch))


def _say_on(launch: Launch) -> Callable[[str], None]:
    """Return what prints a line, on one process of the job."""
    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    return console.print if launch.rank == 0 else lambda _: None


def _train(config: TrainConfig, launch: Launch) -> bool:
    from jllm.parallel.training.raw_data import with_converted_data

    config = with_converted_data(config, launch)
    from jllm.parallel.training.job import run_job

    return run_job(config, launch).ended
