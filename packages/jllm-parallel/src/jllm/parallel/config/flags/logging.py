"""Flags: logging."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Logging:
    """What is reported, how often, and where it is kept."""

    steps_per_print: int = 1
    """Report every so many steps."""
    steps_per_eval: int = -1
    """Evaluate every so many steps, besides before and after the training. -1: only then."""
    log_dir: str = ""
    """Folder of metrics.jsonl and of TensorBoard's files. Default: that of --checkpoint, else
    --output_dir with _log added, else jllm_log."""
