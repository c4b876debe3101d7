"""`trainer/state.json`: where a run stands, in numbers that no layout changes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jllm.models.weights.manifest import CheckpointError

TRAINER = "trainer"
NAME = "state.json"
VERSION = 1
TOKENIZER_KEYS = ("tokenizer_digest", "chat_template_digest", "special_tokens_digest")
"""What names the tokenizer that made the data: "" where the data do not say, the last two not in
states of earlier versions."""
REQUIRED = ("step", "seed", "global_batch_size", "data_digest", "tokenizer_digest", "flags")
"""Keys of every state. With them each batch that follows is fixed; others may be added.

step               optimizer steps done
seed               of the data's order and of the initial weights
global_batch_size  rows of the data an optimizer step
data_digest        digest of the training data
tokenizer_digest   of the tokenizer that made the data; "" when the data does not say
flags              the command line's flags, as they were
"""


def encode(state: Mapping[str, Any]) -> bytes:
    """Return the contents of state.json; `state` is JSON with at least the REQUIRED keys."""
    assert state.keys() >= set(REQUIRED), f"{sorted(state)}: lacks some of {REQUIRED}"
    value = {"format_version": VERSION, **state}
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Read the state of a checkpoint directory; raise CheckpointError if there is none."""
    path = checkpoint / TRAINER / NAME
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(
            f"{checkpoint}: holds a model without the state of its training (--only_ckpt_model):"
            " start from its weights with --from_ckpt, or resume another --tag"
        ) from None
    except ValueError:
        raise CheckpointError(f"{path}: damaged, it is not JSON; resume another --tag") from None
    version = value.get("format_version") if isinstance(value, dict) else None
    if version != VERSION:
        raise CheckpointError(
            f"{path}: has format version {version}, this jllm reads {VERSION}: resume it with the"
            " jllm that wrote it"
        )
    if lacking := [key for key in REQUIRED if key not in value]:
        raise CheckpointError(f"{path}: lacks {', '.join(lacking)}; resume another --tag")
    return value
