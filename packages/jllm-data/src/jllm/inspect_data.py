"""Show what a data set holds, before training on it: `python -m jllm.inspect_data --help`.

Totals, lengths, fill, the trained share of each role, decoded rows and the record counts; also what
a training step sees, and where and when a text is seen:

    python -m jllm.inspect_data ids
    python -m jllm.inspect_data ids --html report.html
    python -m jllm.inspect_data ids --step 1000 --seed 1234 --global_batch_size 32
    python -m jllm.inspect_data ids --find "some words" --global_batch_size 32
    python -m jllm.inspect_data ids --row chats-00000-chunk-00.zstd.parquet:12
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jllm.data.runtime.command_line import run_command
from jllm.data.runtime.progress import WorkProgress
from jllm.data.tools.inspect.config import InspectConfig, check_config


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m jllm.inspect_data"
) -> int:
    """Run the command and return the exit code."""
    return run_command(
        InspectConfig,
        run,
        prog=prog,
        description=__doc__ or "",
        arguments=arguments,
        stopped="no page was written",
    )


def run(config: InspectConfig, progress: WorkProgress) -> int:
    """Check the settings and inspect."""
    check_config(config)
    from jllm.data.tools.inspect.inspect import inspect_data

    inspect_data(config, progress)
    return 0


if __name__ == "__main__":
    sys.exit(main())
