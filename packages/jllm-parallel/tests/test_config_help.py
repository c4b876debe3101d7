"""The groups of `train_pipe --help`, their flags and their order."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jllm.parallel.config.config import TrainConfig, parse

GROUPS = {
    "options": "help config dry_run world_size",
    "model and data": (
        "model train_data eval_data max_len cache_dir init seed skip_untrained_batches no_shuf "
        "allow_other_tokenizer"
    ),
    "parallelism": (
        "pipe_parallel_size micro_batch_size checkpoint_grad_interval partition_method schedule"
    ),
    "optimisation": (
        "learning_rate global_batch_size num_train_epochs max_steps num_warmup_steps "
        "lr_scheduler_type weight_decay max_grad_norm adam_beta1 adam_beta2 adam_epsilon "
        "mtp_loss_weight"
    ),
    "experts": (
        "aux_loss_alpha router_bias_update_rate z_loss_alpha aux_loss_scope aux_loss_backward_scale"
    ),
    "adapters": (
        "lora_dim lora_alpha only_optimize_lora lora_module_name lora_adapter only_ckpt_lora "
        "lora_rslora"
    ),
    "checkpoints": (
        "checkpoint output_dir steps_per_checkpoint max_num_checkpoints resume_ckpt from_ckpt tag "
        "only_ckpt_model no_save"
    ),
    "logging": "steps_per_print steps_per_eval log_dir",
    "device": "device dtype attention threads timeout",
}
TITLE = re.compile(r"╭─ (.+?) ─*╮")
FLAG = re.compile(r"│ (?:-h, )?--(\w+)")


@pytest.fixture(scope="module")
def usage() -> str:
    """What `python -m jllm.train_pipe --help` prints."""
    command = [sys.executable, "-m", "jllm.train_pipe", "--help"]
    environment = os.environ | {"COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    return done.stdout.decode()


def test_help_comes_in_groups_most_used_first(usage: str) -> None:
    titles = TITLE.split(usage)[1:]
    got = {
        title.removesuffix(" options"): " ".join(FLAG.findall(text))
        for title, text in zip(titles[::2], titles[1::2], strict=True)
    }
    assert got == GROUPS
    assert list(got) == list(GROUPS)


def test_every_field_has_one_flag_of_its_name() -> None:
    flags = " ".join(GROUPS.values()).split()
    assert sorted(flags) == sorted(["help", *(f.name for f in dataclasses.fields(TrainConfig))])


def test_help_has_no_twin_of_a_switch(usage: str) -> None:
    assert set(re.findall(r"--no_\w+", usage)) == {"--no_shuf", "--no_save"}


@pytest.mark.parametrize(
    ("arguments", "init", "no_shuf"),
    [
        ([], True, True),
        (["--no_init"], False, True),
        (["--no-init", "--no_no_shuf"], False, False),
        (["--no_init", "--init"], True, True),
    ],
)
def test_a_twin_takes_back_what_the_file_says(
    tmp_path: Path, arguments: list[str], init: bool, no_shuf: bool
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("model: m\ninit: true\nno_shuf: true\ndry_run: false\n")
    got = parse([f"--config={file}", *arguments])
    assert (got.init, got.no_shuf, got.dry_run) == (init, no_shuf, False)
