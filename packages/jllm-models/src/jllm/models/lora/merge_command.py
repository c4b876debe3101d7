"""The command `jllm.merge_lora`: a model and an adapter in, a model directory out."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

INTERRUPTED = 130
"""Exit code after Ctrl-C."""
ABOUT = """Add a LoRA adapter to its model and write the sum as an ordinary model directory.

  python -m jllm.merge_lora --model MODEL_DIR --adapter ADAPTER_DIR --output MERGED_DIR

The adapter may be jllm's or peft's. Files, names and element types are those of the model; what has
no adapter is copied byte by byte. Sums are computed in float64 and rounded once. Memory: a weight's
own adapter and a few pieces of 8 MiB. If it is interrupted, the same command goes on with the file
at which it stopped; MERGED_DIR appears when it is complete."""


def parse(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    """Return the flags; where one is unknown or invalid, print an error and exit with code 2."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for flag, metavar, text in (
        ("--model", "MODEL_DIR", "the model that the adapter was trained on"),
        ("--adapter", "ADAPTER_DIR", "adapter_config.json and adapter_model.safetensors"),
        ("--output", "MERGED_DIR", "a directory that is not there yet"),
    ):
        parser.add_argument(flag, type=Path, required=True, metavar=metavar, help=text)
    return parser.parse_args(arguments)


def run(arguments: Sequence[str] | None = None, *, prog: str = "python -m jllm.merge_lora") -> int:
    """Run the command and return the exit code: 0, 2 for a mistake, 130 after Ctrl-C."""
    flags = parse(arguments, prog)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        from jllm.models.lora.merge_files import merge_files  # imports torch, after the flags

        columns = (TextColumn("{task.description:9}"), BarColumn(bar_width=20))
        with Progress(
            *columns,
            DownloadColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        ) as progress:
            tasks = {name: progress.add_task(name, total=None) for name in ("checking", "merging")}
            result = merge_files(
                flags.model,
                flags.adapter,
                flags.output,
                lambda name, done, total: progress.update(tasks[name], completed=done, total=total),
            )
        console.print(f"{flags.output}: {result}", markup=False)
    except (ValueError, OSError) as error:
        console.print(f"error: {error}", markup=False)
        return 2
    except KeyboardInterrupt:
        console.print("\nstopped; the same command goes on from here", markup=False)
        return INTERRUPTED
    return 0
