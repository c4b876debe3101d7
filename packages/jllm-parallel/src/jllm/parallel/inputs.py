"""What a run reads, looked at before anything starts: data sets, the model's config, the
checkpoint.

A pure value comes out, the same on every process. Costs the footers of the data sets.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from jllm.data.dataset import Dataset, open_dataset
from jllm.data.order import steps_per_epoch
from jllm.models.config import DecoderConfig
from jllm.models.families import read_config
from jllm.parallel import checkpoint
from jllm.parallel.checks import Layout, layout, resume_problems, total_steps
from jllm.parallel.config import TrainConfig
from jllm.parallel.feed import StepShape


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """Everything a run starts from."""

    layout: Layout
    model: DecoderConfig
    model_dir: Path
    """Source of config.json, tokenizer files and the rest of the model directory."""
    weights_dir: Path | None
    """Where the weights come from; None for random ones."""
    resume_dir: Path | None
    """Checkpoint whose optimizer state and step are continued."""
    datasets: dict[str, Dataset]
    """"train" and "eval", where there are such."""
    shapes: dict[str, StepShape]
    """Of one replica's part of a step, by data set."""
    first_step: int
    """Optimizer steps done before."""
    total_steps: int
    """Optimizer steps of the whole run."""
    state: dict[str, Any]
    """What a checkpoint of this run says beside its step."""


def read_inputs(config: TrainConfig, world_size: int) -> Inputs:
    """Opens and checks everything.

    Raises:
        ValueError: something is missing, unreadable or contradicts something else.
    """
    sizes = layout(config, world_size)
    model = read_config(Path(config.model))
    datasets = {
        name: open_dataset(Path(path))
        for name, path in (("train", config.train_data), ("eval", config.eval_data))
        if path
    }
    shapes = {name: step_shape(config, sizes, name, data) for name, data in datasets.items()}
    steps, state = 0, {"seed": config.seed, "flags": dataclasses.asdict(config)}
    if train := datasets.get("train"):
        per_epoch = steps_per_epoch(train.num_rows, config.global_batch_size)
        steps = total_steps(config, per_epoch)
        state |= {
            "global_batch_size": config.global_batch_size,
            "shuffled": not config.no_shuf,
            "data_digest": train.digest,
            "tokenizer_digest": train.tokenizer_digest,
            "chat_template_digest": train.chat_template_digest,
        }
    found = _checkpoint(config)
    resume_dir = found if config.resume_ckpt else None
    first = _first_step(resume_dir, state) if resume_dir and train else 0
    if resume_dir and first > steps:
        raise ValueError(
            f"--resume_ckpt: {resume_dir} is {first} steps on, this run has {steps}: "
            "raise --num_train_epochs or --max_steps"
        )
    if config.checkpoint and not config.resume_ckpt and checkpoint.steps(Path(config.checkpoint)):
        raise ValueError(
            f"--checkpoint {config.checkpoint} holds the checkpoints of an earlier run: continue it "
            f"with --resume_ckpt {config.checkpoint}, or name another folder"
        )
    return Inputs(
        layout=sizes,
        model=model,
        model_dir=Path(config.model),
        weights_dir=found or (None if config.init else Path(config.model)),
        resume_dir=resume_dir,
        datasets=datasets,
        shapes=shapes,
        first_step=first,
        total_steps=steps,
        state=state,
    )


def step_shape(config: TrainConfig, sizes: Layout, name: str, data: Dataset) -> StepShape:
    """Gives the sizes of a data set's steps; an evaluation has no more micro-batches than rows."""
    count = sizes.micro_batches
    if name == "eval":
        count = min(
            max(count, 4 * sizes.stages),
            -(-data.num_rows // (sizes.replicas * config.micro_batch_size)),
        )
    return StepShape(micro_batches=count, rows=config.micro_batch_size, length=data.max_len - 1)


def rows_per_step(shape: StepShape, sizes: Layout) -> int:
    """Rows of a global batch."""
    return shape.micro_batches * shape.rows * sizes.replicas


def _checkpoint(config: TrainConfig) -> Path | None:
    root = config.resume_ckpt or config.from_ckpt
    return checkpoint.find(Path(root), config.tag or None) if root else None


def _first_step(found: Path, state: dict[str, Any]) -> int:
    before = checkpoint.read_state(found)
    if problems := resume_problems(before, state):
        raise ValueError("\n".join(problems))
    return before["step"]


def saved_config(model_dir: Path, dtype: str) -> dict[str, Any]:
    """Reads config.json and sets the type of the saved weights."""
    values = json.loads((model_dir / "config.json").read_text())
    values.pop("torch_dtype", None)
    return values | {"dtype": dtype}
