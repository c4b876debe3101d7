"""Flags that a run which is resumed may change without being another run.

All other flags are the checkpoint's where they are not typed.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FreeFlags:
    """Some flags that the checkpoint's run does not decide, and why."""

    flags: frozenset[str]
    listed: bool
    """A difference is shown all the same."""
    reason: str


def _free(flags: str, reason: str, *, listed: bool = False) -> FreeFlags:
    return FreeFlags(flags=frozenset(flags.split()), reason=reason, listed=listed)


FREE = (
    _free(
        "pipe_parallel_size micro_batch_size checkpoint_grad_interval partition_method schedule",
        "layout: of the results it changes the rounding at most, and it follows the machines",
        listed=True,
    ),
    _free(
        "device attention threads timeout",
        "the machine that computes, which may be another one",
    ),
    _free(
        "model init from_ckpt resume_ckpt tag",
        "where a run begins: a resumed one takes weights and step from its checkpoint",
    ),
    _free(
        "max_len cache_dir",
        "conversion of raw files: what comes out is compared by its digest",
    ),
    _free(
        "checkpoint output_dir no_save only_ckpt_model log_dir",
        "folders and what is written there: said anew, or implied by --resume_ckpt",
    ),
    _free("steps_per_print", "printing"),
    _free("config dry_run world_size", "how the command is called, not what it does"),
)
"""Every flag that the checkpoint's run does not decide, in groups with their reasons."""

COMPARED_BY_CONTENT = frozenset({"train_data"})
"""Taken from the checkpoint's run where not typed; of others, what is read is compared, not the
path."""
