"""`python -m jllm.train_pipe`: pipeline- and data-parallel training (see `--help`)."""

import sys


def main(*, prog: str = "python -m jllm.train_pipe") -> None:
    """Run the command; 2 is the exit code of a mistake the user can mend."""
    from jllm.parallel.training.command import run

    sys.exit(run(prog=prog))


if __name__ == "__main__":
    main()
