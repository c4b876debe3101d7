"""The command `jllm.generate`: a prompt in, text out as it is made, speed at the end.

Flags are checked before PyTorch is imported; text goes to stdout, all else to stderr.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from jllm.models.families import read_config
from jllm.models.families.common import DTYPES
from jllm.models.generation.options import Sampling
from jllm.models.weights.extra import refuse_extra
from jllm.models.weights.verify import verify_read

INTERRUPTED = 130
"""Exit code after Ctrl-C."""
ABOUT = """Write on from a prompt with a model directory; text appears as it is made.

  greedy:   python -m jllm.generate --model MODEL_DIR --prompt "The sea is"
  sampled:  python -m jllm.generate --model MODEL_DIR --prompt "Hi!" --temperature 0.7 --top_p 0.9

The same directory, prompt and seed give the same text. Where the tokenizer has a chat template the
prompt is what a user says; --no_chat takes it as the beginning of a text. It ends at an
end-of-sequence token or after --max_new_tokens."""


def parse(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    """Return the flags; print and exit (code 2) where one is unknown or unreadable."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="DIR", help="a Hugging Face model directory")
    add("--prompt", required=True, metavar="TEXT", help="what the model goes on from")
    add("--max_new_tokens", type=int, default=256, metavar="N", help="stop after N tokens (256)")
    add(
        "--temperature",
        type=float,
        default=0.0,
        metavar="T",
        help="0 takes the likeliest token (default); above 0 draws, 1 as the model says, less is "
        "more careful",
    )
    add("--top_k", type=int, metavar="K", help="draw from the K likeliest tokens (all)")
    add(
        "--top_p",
        type=float,
        default=1.0,
        metavar="P",
        help="draw from the likeliest tokens that have probability P together (1: all)",
    )
    add("--seed", type=int, default=0, metavar="N", help="another seed draws another text (0)")
    chat = parser.add_mutually_exclusive_group()
    chat.add_argument(
        "--chat",
        action="store_true",
        default=None,
        help="apply the chat template to the prompt (default where there is one)",
    )
    chat.add_argument(
        "--no_chat", action="store_false", dest="chat", help="take the prompt as raw text"
    )
    add("--dtype", choices=DTYPES, help="element type to compute in (that of the directory)")
    add("--device", default="cpu", help="where to compute, a device of PyTorch (cpu)")
    return parser.parse_args(arguments)


def run(arguments: Sequence[str] | None = None, *, prog: str = "python -m jllm.generate") -> int:
    """Run the command line; return the exit code: 0, 2 for a mistake, 130 after Ctrl-C."""
    flags = parse(arguments, prog)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        sampling = Sampling(
            temperature=flags.temperature, top_k=flags.top_k, top_p=flags.top_p, seed=flags.seed
        )
        sampling.check()
        if flags.max_new_tokens < 1:
            raise ValueError(f"--max_new_tokens must be at least 1, found {flags.max_new_tokens}")
        verify_read(flags.model)
        config = read_config(flags.model)
        refuse_extra(config, flags.model)
        config = replace(config, prediction=None)
        from jllm.models.generation.write import write  # imports torch, after the flags

        written = write(
            flags.model,
            config,
            flags.prompt,
            sampling,
            max_new_tokens=flags.max_new_tokens,
            chat=flags.chat,
            dtype=flags.dtype or config.dtype,
            device=flags.device,
            stream=sys.stdout,
        )
        console.print(written.summary(), markup=False)
    except (ValueError, OSError) as error:
        console.print(f"error: {error}", markup=False)
        return 2
    except KeyboardInterrupt:
        console.print("\nstopped", markup=False)
        return INTERRUPTED
    return 0
