"""Merging an adapter into its model: `python -m jllm.merge_lora --help`."""

import sys


def main(*, prog: str = "python -m jllm.merge_lora") -> None:
    """Run the command; the exit code is 2 for a mistake that the user can correct."""
    from jllm.models.lora.merge_command import run

    sys.exit(run(prog=prog))


if __name__ == "__main__":
    main()
