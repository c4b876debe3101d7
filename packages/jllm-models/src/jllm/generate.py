"""A text that a model writes: `python -m jllm.generate --help`."""

import sys


def main(*, prog: str = "python -m jllm.generate") -> None:
    """Run the command; 2 is the exit code of a mistake the user can mend."""
    from jllm.models.generation.command import run

    sys.exit(run(prog=prog))


if __name__ == "__main__":
    main()
