"""Generating text with a model: `python -m jllm.generate --help`."""

import sys


def main(*, prog: str = "python -m jllm.generate") -> None:
    """Run the command; the exit code is 2 for a mistake that the user can correct."""
    from jllm.models.generation.command import run

    sys.exit(run(prog=prog))


if __name__ == "__main__":
    main()
