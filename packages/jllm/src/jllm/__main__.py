"""`python -m jllm`: the same as the command `jllm`."""

from jllm.cli.main import main

if __name__ == "__main__":
    main()
