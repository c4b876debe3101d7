"""Check every byte and every row of a data set: `python -m jllm.verify_data DIR`.

Checks digests of files and row groups, the form of every row, and the sums and record counts in the
info files. Findings name file, row group and row. Exit code: 0 sound, 1 not, 2 cannot be checked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jllm.data.runtime.command_line import run_command
from jllm.data.runtime.progress import WorkProgress
from jllm.data.tools.verify.config import VerifyConfig, check_verify_config


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m jllm.verify_data"
) -> int:
    """Run the command and return the exit code."""
    return run_command(
        VerifyConfig,
        run,
        prog=prog,
        description=__doc__ or "",
        arguments=arguments,
        stopped="the check is not complete",
    )


def run(config: VerifyConfig, progress: WorkProgress) -> int:
    """Check the settings, then the data, and print the findings."""
    check_verify_config(config)
    from jllm.data.tools.verify.verify import verify

    report = verify(config, progress)
    for finding in report.findings:
        progress.note(finding)
    if report.total > len(report.findings):
        progress.note(f"… and {report.total - len(report.findings):,} more")
    what = f"{report.rows:,} rows in {report.files:,} files"
    wrong = f"{report.total:,} findings" if report.total else "nothing wrong"
    progress.note(f"{config.folder}: {what}, {wrong}")
    return 1 if report.total else 0


if __name__ == "__main__":
    sys.exit(main())
