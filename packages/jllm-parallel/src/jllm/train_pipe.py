"""`python -m jllm.train_pipe`: pipeline- and data-parallel training (see `--help`)."""

import sys


def main() -> None:
    """Runs the command; 2 is the exit code of a mistake the user can mend."""
    from jllm.parallel.train.command import run

    sys.exit(run())


if __name__ == "__main__":
    main()
