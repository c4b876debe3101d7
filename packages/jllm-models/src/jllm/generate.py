"""A text that a model writes: `python -m jllm.generate --help`."""

import sys


def main() -> None:
    """Run the command; 2 is the exit code of a mistake the user can mend."""
    from jllm.models.generation.command import run

    sys.exit(run())


if __name__ == "__main__":
    main()
