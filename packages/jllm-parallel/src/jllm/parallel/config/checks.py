"""Every check that needs no device: pure functions that find contradictions before anything heavy
starts."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

from jllm.parallel.config.config import TrainConfig


def problems(config: TrainConfig, world_size: int) -> Iterator[str]:
    """Yield what contradicts what, in the order of the flags' declaration."""
    if config.from_ckpt and config.resume_ckpt:
        yield (
            "--from_ckpt and --resume_ckpt exclude each other: the first takes weights only, "
            "the second all"
        )
    if config.tag and not (config.from_ckpt or config.resume_ckpt):
        yield "--tag names a checkpoint of --from_ckpt or --resume_ckpt: give one of them"
    if config.init and config.from_ckpt:
        yield "--init and --from_ckpt exclude each other: weights are either random or loaded"
    yield from _lora_problems(config)
    if config.world_size and not config.dry_run:
        yield (
            "--world_size plans with --dry_run; to train, start so many processes "
            "(torchrun --nproc_per_node)"
        )
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            yield f"--{field.name} {value}: a number that is finite"
    if config.num_train_epochs > 0 and not config.train_data:
        yield "--train_data is missing: a folder made by `python -m jllm.raw2ids`, or a raw file"
    if not 2 <= config.max_len <= 1 << 24:
        yield f"--max_len {config.max_len}: 2 to {1 << 24:,}"
    yield from _saving_problems(config)
    if config.num_train_epochs == 0 and not config.output_dir and not config.eval_data:
        yield (
            "--num_train_epochs 0 trains nothing: give --output_dir to write the model, "
            "or --eval_data"
        )
    if config.only_ckpt_model and same_folder(config):
        yield (
            "--only_ckpt_model would fill --resume_ckpt with checkpoints that cannot be resumed: "
            "drop it, or name another folder with --checkpoint"
        )
    for flag in ("checkpoint", "log_dir"):
        if config.output_dir and getattr(config, flag):
            out, other = Path(config.output_dir).resolve(), Path(getattr(config, flag)).resolve()
            if out == other or out in other.parents:
                yield f"--output_dir {out} and --{flag}: take two folders, none inside the other"
    for flag in (
        "pipe_parallel_size",
        "micro_batch_size",
        "global_batch_size",
        "steps_per_print",
        "timeout",
    ):
        if getattr(config, flag) < 1:
            yield f"--{flag} {getattr(config, flag)}: at least 1"
    for flag in (
        "num_train_epochs",
        "checkpoint_grad_interval",
        "threads",
        "lora_dim",
        "world_size",
    ):
        if getattr(config, flag) < 0:
            yield f"--{flag} {getattr(config, flag)}: 0 or more"
    for flag in ("steps_per_checkpoint", "max_num_checkpoints", "steps_per_eval", "max_steps"):
        value = getattr(config, flag)
        if value < 1 and value != -1:
            yield f"--{flag} {value}: at least 1, or -1 for none"
    for flag in (
        "learning_rate",
        "num_warmup_steps",
        "weight_decay",
        "adam_epsilon",
        "max_grad_norm",
        "aux_loss_alpha",
        "mtp_loss_weight",
        "aux_loss_backward_scale",
        "z_loss_alpha",
        "router_bias_update_rate",
    ):
        if getattr(config, flag) < 0:
            yield f"--{flag} {getattr(config, flag)}: 0 or more"
    for flag in ("adam_beta1", "adam_beta2"):
        if math.isfinite(getattr(config, flag)) and not 0 <= getattr(config, flag) < 1:
            yield f"--{flag} {getattr(config, flag)}: at least 0, below 1"
    if config.steps_per_checkpoint != -1 and not config.checkpoint:
        yield "--steps_per_checkpoint needs --checkpoint, the folder to save to"
    if config.steps_per_eval != -1 and not config.eval_data:
        yield "--steps_per_eval needs --eval_data"
    stages, batch, micro = (
        config.pipe_parallel_size,
        config.global_batch_size,
        config.micro_batch_size,
    )
    if stages >= 1 and world_size % stages:
        yield (
            f"--pipe_parallel_size {stages} does not divide the {world_size} processes: "
            f"start a multiple of {stages} (torchrun --nproc_per_node), or plan for so many with "
            "--dry_run --world_size"
        )
    elif stages >= 1 and micro >= 1 and batch >= 1:
        unit = world_size // stages * micro
        if batch % unit:
            below, above = batch // unit * unit, -(-batch // unit) * unit
            yield (
                f"--global_batch_size {batch} does not divide into {world_size // stages} replicas "
                f"× --micro_batch_size {micro}: take "
                + (f"{below} or {above}" if below else f"{above}")
            )


def _saving_problems(config: TrainConfig) -> Iterator[str]:
    saving = [flag for flag in ("checkpoint", "output_dir") if getattr(config, flag)]
    if config.num_train_epochs > 0 and not saving and not config.no_save:
        yield (
            "what is trained would be lost: give --checkpoint (to continue later), --output_dir "
            "(the final model alone), or --no_save to train without saving"
        )
    for flag in saving:
        if config.no_save:
            yield f"--no_save and --{flag} exclude each other: drop one"


def _lora_problems(config: TrainConfig) -> Iterator[str]:
    adapts = config.lora_dim or config.lora_adapter
    for flag in ("lora_rslora", "only_optimize_lora", "only_ckpt_lora"):
        if getattr(config, flag) and not adapts:
            yield f"--{flag} needs an adapter: give --lora_dim, its rank, or --lora_adapter"
    for flag in ("lora_alpha", "lora_module_name"):
        if getattr(config, flag) != getattr(TrainConfig, flag) and not adapts:
            yield f"--{flag} needs an adapter: give --lora_dim, its rank; without it all is trained"
    if config.only_ckpt_lora and not config.only_optimize_lora and config.num_train_epochs:
        yield (
            "--only_ckpt_lora would lose what is trained of the model itself: "
            "add --only_optimize_lora"
        )
    if config.init and adapts:
        yield (
            "--init and an adapter exclude each other: nobody could have the model that it is of; "
            "write that first (--init --num_train_epochs 0 --output_dir)"
        )
    if config.only_optimize_lora and config.router_bias_update_rate:
        yield "--router_bias_update_rate would change the model that --only_optimize_lora freezes"
    if config.lora_alpha <= 0:
        yield f"--lora_alpha {config.lora_alpha}: above 0"


def same_folder(config: TrainConfig) -> bool:
    """Say whether the run saves on where it resumes from: a folder, or a checkpoint in it."""
    if not (config.checkpoint and config.resume_ckpt):
        return False
    saved, resumed = Path(config.checkpoint).resolve(), Path(config.resume_ckpt).resolve()
    return saved in (resumed, resumed.parent)


def total_steps(config: TrainConfig, steps_per_epoch: int) -> int:
    """Optimizer steps of the whole run.

    Raises:
        ValueError: the data have fewer rows than one global batch, or the warm-up is longer than
            the run.
    """
    if config.num_train_epochs and not steps_per_epoch:
        raise ValueError(
            f"--global_batch_size {config.global_batch_size} is more than all rows of "
            "--train_data: take less"
        )
    steps = config.num_train_epochs * steps_per_epoch
    steps = steps if config.max_steps == -1 else min(steps, config.max_steps)
    if steps and config.num_warmup_steps > max(steps, 1):
        raise ValueError(
            f"--num_warmup_steps {config.num_warmup_steps:g}: the run has {steps:,} steps, so "
            "--learning_rate would never be reached; take fewer, or a fraction below 1"
        )
    return steps
