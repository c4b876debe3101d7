"""Convert raw text and chats to packed token ids: `python -m jllm.raw2ids --help`.

Chats (one a line, trained on the assistant's answers), and text for pre-training:

    python -m jllm.raw2ids --tokenizer MODEL -i chats.jsonl -o ids --max_len 2049
    python -m jllm.raw2ids --tokenizer MODEL -t pretrain -i text.txt -o ids --max_len 4097 --stack
    python -m jllm.raw2ids --tokenizer MODEL -t pretrain -i folder_of_jsonl -o ids
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jllm.data.convert.config import Raw2IdsConfig, check_config
from jllm.data.runtime.command_line import run_command
from jllm.data.runtime.progress import WorkProgress


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m jllm.raw2ids") -> int:
    """Run the command and return the exit code.

    0 on success, 2 for what the user can mend, 130 after Ctrl-C, 143 after SIGTERM.
    """
    return run_command(
        Raw2IdsConfig,
        run,
        prog=prog,
        description=__doc__ or "",
        arguments=arguments,
        stopped="it did not come to the end",
    )


def run(config: Raw2IdsConfig, progress: WorkProgress) -> int:
    """Check the settings and convert."""
    check_config(config)
    from jllm.data.convert.convert import convert
    from jllm.data.convert.report import ConversionReport

    report = ConversionReport(progress)
    report.close(convert(config, report), str(config.output_folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
