"""An adapter added to its model: `python -m jllm.merge_lora --help`."""

import sys


def main(*, prog: str = "python -m jllm.merge_lora") -> None:
    """Run the command; 2 is the exit code of a mistake the user can mend."""
    from jllm.models.lora.merge_command import run

    sys.exit(run(prog=prog))


if __name__ == "__main__":
    main()
