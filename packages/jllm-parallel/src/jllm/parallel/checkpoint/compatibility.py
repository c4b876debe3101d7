"""What a run that resumes must share with the checkpoint's run."""

from collections.abc import Mapping
from typing import Any

from jllm.parallel.checkpoint.state import TOKENIZER_KEYS


def other_tokenizer(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the names of the tokenizer digests that two states have and that differ."""
    return [key for key in TOKENIZER_KEYS if before.get(key) and now[key] not in ("", before[key])]


def resume_problems(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what of a checkpoint's run this one must share and does not.

    A run is a function of data, seed and step; the layout may differ, these may not.

    Args:
        before: the checkpoint's state.
        now: the state that this run would begin with.
    """
    other = other_tokenizer(before, now)
    flags = {
        "seed": "--seed",
        "global_batch_size": "--global_batch_size",
        "shuffled": "--no_shuf",
        "data_digest": "--train_data (its contents)",
        **{key: f"--train_data (its {key})" for key in other},
        "lora": "--lora_dim, --lora_alpha, --lora_module_name, … or --lora_adapter",
        "mtp": "--mtp_loss_weight (0 or more than 0)",
    }
    alone = before.get("flags", {}).get("only_ckpt_lora")
    start = "--lora_adapter" if alone else "--from_ckpt"
    return [
        f"{flag}: the checkpoint's run had {before.get(key)!r}, this one has {now.get(key)!r}; "
        f"use the same to continue it, or {start} to start a new run from its weights"
        for key, flag in flags.items()
        if before.get(key) != now.get(key)
    ]
