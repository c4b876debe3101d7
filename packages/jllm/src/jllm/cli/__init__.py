"""The command `jllm`, which lists and runs the commands of jllm's packages."""

__version__ = "0.1.0"
