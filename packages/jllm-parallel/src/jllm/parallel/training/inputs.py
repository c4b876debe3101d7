"""What a run reads, looked at before anything starts: data sets, the model's config, the
checkpoint.

A pure value comes out, the same on every process. Costs the info files of the data sets, and
the footers of files by others.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from jllm.data.reading.mixture import DataMixture, open_mixture
from jllm.data.reading.order import steps_per_epoch
from jllm.data.tools.verify.tokenizer_match import stating
from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.families import read_config
from jllm.models.lora.settings import Lora
from jllm.parallel.checkpoint.compatibility import other_tokenizer, resume_problems
from jllm.parallel.checkpoint.folder import find, survey
from jllm.parallel.checkpoint.state import TOKENIZER_KEYS, read_state
from jllm.parallel.config.checks import same_folder, total_steps
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.config.layout import Layout, layout
from jllm.parallel.experts.load_balance import balance_problems
from jllm.parallel.feed.step_data import StepShape
from jllm.parallel.lora.adapter import lora_of, lora_state
from jllm.parallel.training.multi_token_prediction import with_mtp


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """Everything a run starts from."""

    layout: Layout
    model: DecoderConfig
    lora: Lora | None
    """The adapter; None where there is none."""
    model_dir: Path
    """Source of config.json, tokenizer files and the rest of the model directory."""
    dtype: str
    """Type of the weights, as --dtype; where nothing is trained, auto is that of the files."""
    weights_dir: Path | None
    """Where the weights come from; None for random ones."""
    checkpoints: tuple[Path, ...]
    """Checkpoints that are read, whose digests are checked first."""
    resume_dir: Path | None
    """Checkpoint whose optimizer state and step are continued."""
    datasets: dict[str, DataMixture]
    """"train" and "eval", where there are such; "eval" is one data set."""
    shapes: dict[str, StepShape]
    """Of one replica's part of a step, by data set."""
    first_step: int
    """Optimizer steps done before."""
    resume_problems: tuple[str, ...]
    """Why the checkpoint cannot be resumed, where its run's data had another tokenizer: refused
    after the tokens were compared (`tokenizer_check`)."""
    total_steps: int
    """Optimizer steps of the whole run."""
    state: dict[str, Any] | None
    """Where the run stands before its first step; None where nothing is trained."""


def read_inputs(config: TrainConfig, world_size: int) -> Inputs:
    """Open and check everything.

    Raises:
        ValueError: something is missing, unreadable or contradicts something else.
    """
    sizes = layout(config, world_size)
    model = read_config(Path(config.model))
    if problems := balance_problems(config, model):
        raise ValueError("\n".join(problems))
    lora = lora_of(config, model)
    datasets = {
        name: open_mixture(text)
        for name, text in (("train", config.train_data), ("eval", config.eval_data))
        if text
    }
    for name, data in datasets.items():
        if not data.num_rows:
            raise ValueError(f"--{name}_data: holds no rows; convert some data first")
        if any(part.kind == "rl" for part in data.parts):
            raise ValueError(
                f"--{name}_data: holds RL prompts, which have no answers to train on: give chats "
                "with answers, converted with python -m jllm.raw2ids --type ft"
            )
    if "eval" in datasets and len(datasets["eval"].parts) > 1:
        raise ValueError(
            f"--eval_data {config.eval_data}: every row is evaluated once, so weights mean "
            "nothing: name one folder"
        )
    shapes = {name: step_shape(config, sizes, name, data) for name, data in datasets.items()}
    steps, state = 0, None
    if train := datasets.get("train"):
        per_epoch = steps_per_epoch(train.num_rows, config.global_batch_size)
        steps = total_steps(config, per_epoch)
        train.shares(config.global_batch_size)  # each data set fills its part of a step
        state = {
            "step": 0,
            "seed": config.seed,
            "global_batch_size": config.global_batch_size,
            "shuffled": not config.no_shuf,
            "data_digest": train.digest,
            **{key: getattr(stating(train.parts), key) for key in TOKENIZER_KEYS},
            "flags": dataclasses.asdict(config),
        }
        if lora:
            state["lora"] = lora_state(lora, frozen=config.only_optimize_lora)
        if config.mtp_loss_weight:
            state["mtp"] = True
    root = config.resume_ckpt or config.from_ckpt
    found = find(Path(root), config.tag or None).path if root else None
    resume_dir, first, refused = None, 0, ()
    if config.resume_ckpt and found and state:
        before = read_state(found)
        if problems := resume_problems(before, state):
            if not other_tokenizer(before, state):
                raise ValueError("\n".join(problems))
            refused = tuple(problems)
        resume_dir, first = found, before["step"]
    if resume_dir and first > steps:
        raise ValueError(
            f"--resume_ckpt: {resume_dir} is {first} steps on, this run has {steps}: "
            "raise --num_train_epochs or --max_steps"
        )
    if config.checkpoint and not same_folder(config) and survey(Path(config.checkpoint))[0]:
        raise ValueError(
            f"--checkpoint {config.checkpoint} holds the checkpoints of another run: continue "
            f"it with --resume_ckpt {config.checkpoint}, or name another folder"
        )
    output = Path(config.output_dir)
    if config.output_dir and output.exists() and not _is_empty_folder(output):
        raise ValueError(f"--output_dir {output}: is there already; name a new directory")
    if config.from_ckpt and found and not (found / "config.json").exists():
        raise ValueError(
            f"--from_ckpt: {found} holds an adapter alone: start from it with "
            f"--lora_adapter {found}"
        )
    weights_dir = found or (None if config.init else Path(config.model))
    if lora and resume_dir and config.only_optimize_lora:  # the checkpoint's weights are merged
        weights_dir = Path(config.model)
    return Inputs(
        layout=sizes,
        model=with_mtp(config, model, weights_dir),
        lora=lora,
        model_dir=Path(config.model),
        weights_dir=weights_dir,
        dtype=_stored_dtype(weights_dir) if config.dtype == "auto" and not steps else config.dtype,
        checkpoints=(found,) if found else (),
        resume_dir=resume_dir,
        datasets=datasets,
        shapes=shapes,
        first_step=first,
        resume_problems=refused,
        total_steps=steps,
        state=state,
    )


def step_shape(config: TrainConfig, sizes: Layout, name: str, data: DataMixture) -> StepShape:
    """Return the sizes of a data set's steps; an evaluation has no more micro-batches than rows."""
    count = sizes.micro_batches
    if name == "eval":
        count = min(count, -(-data.num_rows // (sizes.replicas * config.micro_batch_size)))
    return StepShape(micro_batches=count, rows=config.micro_batch_size, length=data.max_len - 1)


def rows_per_step(shape: StepShape, sizes: Layout) -> int:
    """Return rows of a global batch."""
    return shape.micro_batches * shape.rows * sizes.replicas


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _stored_dtype(model_dir: Path | None) -> str:
    """Read the type of a model directory's weights; "auto" where it names none that is trained."""
    if model_dir is None:
        return "auto"
    values = json.loads((model_dir / "config.json").read_text())
    found = values.get("dtype", values.get("torch_dtype"))
    return found if found in ("float32", "bfloat16") else "auto"
