"""What a data set holds, before it is trained on: `python -m jllm.inspect_data --help`.

Totals, lengths, fill, the supervised share of each role, decoded rows and the account of records;
then what a training step sees, and where and when a text is seen:

    python -m jllm.inspect_data ids
    python -m jllm.inspect_data ids --html report.html
    python -m jllm.inspect_data ids --step 1000 --seed 1234 --global_batch_size 32
    python -m jllm.inspect_data ids --find "some words" --global_batch_size 32
    python -m jllm.inspect_data ids --row chats-00000-chunk-00.zstd.parquet:12
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import tyro
from rich.console import Console

from jllm.data.inspection.config import InspectConfig, check_config


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    0, 2 for what the user can mend, 130 after Ctrl-C.
    """
    config = tyro.cli(
        InspectConfig,
        prog="python -m jllm.inspect_data",
        description=__doc__,
        args=arguments,
        use_underscores=True,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    try:
        check_config(config)
        from jllm.data.inspection.inspect import inspect_data

        inspect_data(config, Console())
    except (ValueError, OSError) as error:
        what = error.strerror if isinstance(error, OSError) and not error.filename else error
        sys.stderr.write(f"error: {what or error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("error: stopped\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
