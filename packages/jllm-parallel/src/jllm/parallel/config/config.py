"""What a training run is asked to do: one frozen value, its flags, and every check across them.

Nothing heavy is imported here, so a wrong flag is reported in well under a second on every machine
of a job, before any process group exists.
"""

import dataclasses
import difflib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import tyro
import yaml


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Trains a language model with pipeline and data parallelism.

    Start one process per device:
    torchrun --nproc_per_node 2 -m jllm.train_pipe --model M --train_data D --pipe_parallel_size 2

    The number of processes divided by --pipe_parallel_size is the number of data-parallel replicas.
    The result depends on the data, --seed and the step, not on how the processes are laid out.
    """

    model: str
    """Hugging Face model directory: config.json, and weights unless --init."""
    train_data: str = ""
    """Folder of token ids made by `python -m jllm.raw2ids` (or by Spark); or a mixture of several,
    a:0.7,b:0.3, by their shares of the rows."""
    eval_data: str = ""
    """Folder of held-out token ids; its loss is printed before, during and after the training."""
    allow_other_tokenizer: bool = False
    """Train although the data were made with another tokenizer than the model's."""
    init: bool = False
    """Start from random weights, a function of --seed and each tensor's name; only config.json is
    read."""
    from_ckpt: str = ""
    """Take the weights, and nothing else, from this folder of checkpoints."""
    resume_ckpt: str = ""
    """Continue the run whose checkpoints lie in this folder, on this or any other layout."""
    tag: str = ""
    """Which checkpoint of --from_ckpt or --resume_ckpt: a step number. Default: the newest complete
    one."""

    pipe_parallel_size: int = 1
    """Pipeline stages."""
    partition_method: str = "fast"
    """How sub-layers go to stages: fast (equal time), mem (equal memory), uniform, `a,b`
    (sub-layers of the first and the last stage) or all boundaries `0,9,18,…`."""
    schedule: Literal["1f1b", "gpipe"] = "1f1b"
    """Order of forward and backward passes in a pipeline. The results are the same bits."""
    micro_batch_size: int = 1
    """Rows that go through the model at once."""
    global_batch_size: int = 8
    """Rows per optimizer step, over all replicas, whatever the layout."""

    num_train_epochs: int = 1
    """Passes over the data (of a mixture: over as many rows as its data sets have together). 0: no
    training; with --output_dir, only write the model there."""
    max_steps: int = -1
    """Stop after this many optimizer steps, if the epochs have more. The learning rate ends
    there."""
    learning_rate: float = 3e-4
    """Peak learning rate of AdamW."""
    lr_scheduler_type: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls to 0 after the warm-up."""
    num_warmup_steps: float = 0.0
    """Steps of linear warm-up; below 1, the fraction of all steps."""
    weight_decay: float = 0.0
    """Decoupled weight decay of matrices; norms and biases have none."""
    adam_beta1: float = 0.9
    """Decay of the first moment."""
    adam_beta2: float = 0.95
    """Decay of the second moment."""
    adam_epsilon: float = 1e-8
    """Added to the root of the second moment."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this global norm. 0: never."""
    checkpoint_grad_interval: int = 0
    """Recompute every k-th sub-layer's activations in the backward pass to save memory. 0: none, 1:
    all."""
    aux_loss_alpha: float = 0.0
    """Mixtures of experts: factor of each layer's auxiliary loss, which evens out how much the
    experts are used; 1e-4 to 1e-2 are usual. 0: none."""
    aux_loss_scope: Literal["sequence", "global"] = "sequence"
    """What the auxiliary loss evens out: the use within each row, or within a global batch (by the
    loads of the step before)."""
    aux_loss_backward_scale: float = 1.0
    """What the gradients of auxiliary loss and z-loss are multiplied with, though their values are
    not."""
    z_loss_alpha: float = 0.0
    """Mixtures of experts: factor of each layer's router z-loss, which keeps the router's logits
    small; 1e-3 is usual. 0: none."""
    router_bias_update_rate: float = 0.0
    """Mixtures of experts whose routers have a bias (DeepSeek-V3): how far each step moves that of
    an expert with less than the mean load up, with more down; 1e-3 is usual. 0: it stays."""
    mtp_loss_weight: float = 0.0
    """Train the modules of multi-token prediction of a model that has some (DeepSeek-V3), with the
    mean of their losses times this (0.3 and later 0.1 there). 0: they are saved as they are. With
    --only_optimize_lora they are frozen too, and their loss trains the adapter."""
    seed: int = 1234
    """Seed of the data order and of --init."""
    skip_untrained_batches: bool = False
    """Pass over steps whose rows have no trained token: no weight changes, and they are counted.
    Otherwise such data are an error before the run."""
    no_shuf: bool = False
    """Take the rows in the order of the files."""

    lora_dim: int = 0
    """Rank of a low-rank adapter (LoRA) of the modules of --lora_module_name. 0: none."""
    lora_alpha: float = 1.0
    """The adapter's product is multiplied with lora_alpha / lora_dim; lora_dim to twice of it is
    usual."""
    lora_rslora: bool = False
    """Multiply with lora_alpha / √lora_dim instead."""
    lora_module_name: str = "qkv_proj,o_proj,gate_up_proj,down_proj"
    """Modules that get an adapter: names of the model's own files (q_proj, c_attn, W_pack, …), the
    four fused ones, which every family has, or all-linear."""
    lora_adapter: str = ""
    """Start from this adapter, a directory that peft or jllm wrote, instead of a fresh one. Rank,
    scale and modules are its own."""
    only_optimize_lora: bool = False
    """Train the adapter alone: the model is frozen and costs neither gradients nor moments.
    Otherwise the model is trained with it."""

    checkpoint: str = ""
    """Folder for checkpoints, each an ordinary Hugging Face model directory named by its step."""
    steps_per_checkpoint: int = -1
    """Save every so many steps. The end of the training is always saved. -1: only then."""
    max_num_checkpoints: int = -1
    """Keep so many of the newest checkpoints. -1: all."""
    only_ckpt_model: bool = False
    """Save the model alone: smaller, but the run cannot be resumed from it."""
    only_ckpt_lora: bool = False
    """Save the adapter alone, for peft and vLLM, and what resuming needs. Otherwise the merged
    model is saved, and the adapter in a folder of it."""
    output_dir: str = ""
    """Write the final model, without the optimizer's state, to this directory."""
    log_dir: str = ""
    """Folder of metrics.jsonl and of TensorBoard's files. Default: that of --checkpoint, else
    --output_dir with _log added, else jllm_log."""
    steps_per_eval: int = -1
    """Evaluate every so many steps, besides before and after the training. -1: only then."""
    steps_per_print: int = 1
    """Report every so many steps."""

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of weights and activations; sums, master weights and moments are float32. auto: float32
    on CPU, bfloat16 elsewhere."""
    device: Literal["auto", "cpu", "cuda", "npu"] = "auto"
    """Kind of device. auto: cuda or npu where there is one."""
    attention: str = "sdpa"
    """Attention back end."""
    threads: int = 0
    """CPU threads a process computes with. 0: the machine's cores divided by its processes. On CPU
    the last bits of a result depend on it."""
    timeout: int = 3600
    """Seconds after which a process that waits for another gives up."""
    dry_run: bool = False
    """Check everything that can be checked, print the plan and stop."""
    config: str = ""
    """A YAML file of these same keys; flags given here win."""


def parse(arguments: Sequence[str] | None = None) -> TrainConfig:
    """Reads flags and the --config file.

    Raises:
        ValueError: the file is no YAML mapping or has an unknown key.
        SystemExit: a flag or a value of the file is unknown or malformed (the message suggests the
            nearest), or --help was given.
    """
    given = sys.argv[1:] if arguments is None else arguments
    # DeepSpeed's launcher adds this flag and says the same by an environment variable.
    arguments = [a for a in given if not a.startswith("--local_rank=")]
    path = _config_file(arguments)
    return tyro.cli(
        TrainConfig,
        prog="python -m jllm.train_pipe",
        args=[*(_from_yaml(Path(path)) if path else ()), *arguments],
        use_underscores=True,
    )


def _config_file(arguments: Sequence[str]) -> str:
    for i, argument in enumerate(arguments):
        if argument.startswith("--config="):
            return argument.partition("=")[2]
        if argument == "--config" and i + 1 < len(arguments):
            return arguments[i + 1]
    return ""


def _from_yaml(path: Path) -> Iterator[str]:
    """Turns the file into flags, which come first, so that those of the command line win."""
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as e:
        raise ValueError(f"--config {path}: not valid YAML: {e}") from e
    if not isinstance(values, Mapping):
        found = type(values).__name__
        raise ValueError(f"--config {path}: expected `key: value` lines, found {found}")
    known = [f.name for f in dataclasses.fields(TrainConfig)]
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            mend = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"--config {path}: unknown key {key!r}{mend}")
        if isinstance(value, Mapping | list):
            raise ValueError(f"--config {path}: {key}: expected one value, found {value!r}")
        if isinstance(value, bool):
            yield f"--{key}" if value else f"--no_{key}"
        elif value is None:
            continue
        else:
            yield from (f"--{key}", str(value))
