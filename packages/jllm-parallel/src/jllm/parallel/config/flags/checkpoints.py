"""Flags: checkpoints."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """What is saved, and what the run starts from."""

    checkpoint: str = ""
    """Folder for checkpoints, each an ordinary Hugging Face model directory named by its step."""
    output_dir: str = ""
    """Write the final model, without the optimizer's state, to this directory."""
    steps_per_checkpoint: int = -1
    """Save every so many steps. The end of the training is always saved. -1: only then."""
    max_num_checkpoints: int = -1
    """Keep so many of the newest checkpoints. -1: all."""
    resume_ckpt: str = ""
    """Continue the run whose checkpoints lie in this folder, on this or any other layout, and save
    there unless --checkpoint or --no_save is given."""
    from_ckpt: str = ""
    """Take the weights, and nothing else, from this folder of checkpoints."""
    tag: str = ""
    """Which checkpoint of --from_ckpt or --resume_ckpt: a step number. Default: the newest complete
    one."""
    only_ckpt_model: bool = False
    """Save the model alone: smaller, but the run cannot be resumed from it."""
    no_save: bool = False
    """Train without saving anything, for trials. Without this flag, --checkpoint or --output_dir
    has to be there."""
