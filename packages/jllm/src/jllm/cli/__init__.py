"""The command `jllm`: it lists the commands of jllm's packages and runs them."""

__version__ = "0.1.0"
