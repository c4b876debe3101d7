"""Shuffle the rows of data sets, even beyond memory: `python -m jllm.shuffle_datasets --help`.

One data set, or several that are joined into one:

    python -m jllm.shuffle_datasets -d ids -o shuffled -n 16
    python -m jllm.shuffle_datasets -d books,news,code -o shuffled --mem_gb 8 --seed 7
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jllm.data.runtime.command_line import run_command
from jllm.data.runtime.progress import WorkProgress
from jllm.data.tools.shuffle.config import ShuffleConfig, check_shuffle_config


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m jllm.shuffle_datasets"
) -> int:
    """Run the command and return the exit code."""
    return run_command(
        ShuffleConfig,
        run,
        prog=prog,
        description=__doc__ or "",
        arguments=arguments,
    )


def run(config: ShuffleConfig, progress: WorkProgress) -> int:
    """Check the settings and shuffle."""
    check_shuffle_config(config)
    from jllm.data.tools.shuffle.shuffle import shuffle

    done = shuffle(config, progress)
    progress.note(
        f"{config.output}: {done.rows:,} rows in {done.files:,} files, every row once "
        f"({done.plan.processes} processes, {done.plan.buffer_bytes >> 20} MiB of rows each)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
