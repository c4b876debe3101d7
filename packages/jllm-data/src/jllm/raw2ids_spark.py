"""Convert text and chats to packed token ids as a Spark job: `python -m jllm.raw2ids_spark --help`.

    python -m jllm.raw2ids_spark --tokenizer MODEL -i texts -o ids --max_seq_length 4097 --stack
    spark-submit --master yarn … raw2ids_spark.py --tokenizer MODEL -i hdfs:///texts -o hdfs:///ids

The rows are those of `jllm.raw2ids -n`, on any number of machines (docs/spark.md).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from rich.console import Console

from jllm.data.convert.spark.config import SparkConfig, conversion
from jllm.data.runtime.command_line import run_guarded
from jllm.data.runtime.printable import as_rich_text
from jllm.data.runtime.signals import StopSignals


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m jllm.raw2ids_spark"
) -> int:
    """Run the job and return the exit code.

    0 on success, 2 for what the user can mend, 130 after Ctrl-C, 143 after SIGTERM.
    """
    return run_guarded(
        SparkConfig,
        run,
        prog=prog,
        description=__doc__ or "",
        arguments=arguments,
        stopped="nothing was written",
    )


def run(config: SparkConfig, stop: StopSignals) -> int:
    """Check the settings, convert, and print the record counts."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # not started by spark-submit: run locally
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    conversion(config)
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ValueError(f"{error}: pip install 'jllm-data[spark]', and Java 17") from error
    from jllm.data.convert.spark.errors import explained
    from jllm.data.convert.spark.job import convert

    logging.getLogger().addFilter(_tells_no_stop)
    with explained(), stop.held():  # pyspark leaves Java running if its start is interrupted
        spark = SparkSession.builder.appName("jllm.raw2ids_spark").getOrCreate()
    try:
        stop.check()
        converted = convert(spark, config)
    except OSError:
        stop.check()  # an error caused by an interrupt is not reported as an error
        raise
    finally:
        spark.stop()
    account, console = converted.account, Console()
    console.print(
        as_rich_text(
            f"{config.output_path}: {account.read:,} records read, {account.written:,} written, "
            f"{converted.rows:,} rows, {account.tokens:,} tokens, "
            f"{account.trained_tokens:,} trained"
        ),
        soft_wrap=True,
    )
    for what, counts in (("dropped", account.dropped), ("truncated", account.truncated)):
        for reason, count in sorted(counts.items()):
            console.print(as_rich_text(f"note: {count:,} {what}: {reason}"))
    return 0


def _tells_no_stop(record: logging.LogRecord) -> bool:
    """Return False for py4j's log of an interrupt: a traceback of what one line already says."""
    return not str(record.msg).startswith("KeyboardInterrupt")


if __name__ == "__main__":
    sys.exit(main())
