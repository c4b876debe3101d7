"""Split a data set's files into parts, each a data set: `python -m jllm.repartition --help`.

Files are moved (--undo moves them back) or linked; `repartition.sh D N` is the first of these:

    python -m jllm.repartition -d shuffled -n 16
    python -m jllm.repartition -d shuffled -n 16 -o parts
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jllm.data.runtime.command_line import run_command
from jllm.data.runtime.progress import WorkProgress
from jllm.data.tools.repartition.config import RepartitionConfig, check_repartition_config


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m jllm.repartition"
) -> int:
    """Run the command and return the exit code."""
    return run_command(
        RepartitionConfig,
        run,
        prog=prog,
        description=__doc__ or "",
        arguments=arguments,
        stopped="the same command goes on, --undo goes back",
    )


def run(config: RepartitionConfig, progress: WorkProgress) -> int:
    """Check the settings and repartition."""
    check_repartition_config(config)
    from jllm.data.tools.repartition.repartition import repartition

    progress.note(repartition(config))
    return 0


def script() -> int:
    """Run `repartition.sh D N`."""
    if len(sys.argv) != 3 or sys.argv[1].startswith("-"):
        sys.stderr.write("usage: repartition.sh FOLDER NUMBER_OF_PARTS\n")
        return 2
    return main(["-d", sys.argv[1], "-n", sys.argv[2]])


if __name__ == "__main__":
    sys.exit(main())
