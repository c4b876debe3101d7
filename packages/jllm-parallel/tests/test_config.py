"""Flags, the YAML file and the checks across them."""

import subprocess
import sys
from pathlib import Path

import pytest

from jllm.parallel.checkpoint.compatibility import resume_problems
from jllm.parallel.config.checks import problems, total_steps
from jllm.parallel.config.config import TrainConfig, parse, typed_flags
from jllm.parallel.config.layout import layout


def config(**changes: object) -> TrainConfig:
    return TrainConfig(**({"model": "m", "train_data": "d"} | changes))  # type: ignore[arg-type]


def test_flags_have_the_names_of_the_seeds() -> None:
    got = parse(
        [
            "--model",
            "m",
            "--train_data",
            "d",
            "--pipe_parallel_size",
            "2",
            "--num_warmup_steps",
            "0.1",
        ]
    )
    assert got == config(pipe_parallel_size=2, num_warmup_steps=0.1)


def test_the_flag_that_deepspeed_adds_is_no_mistake() -> None:
    assert parse(["--local_rank=1", "--model", "m", "--train_data", "d"]) == config()


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        "model: m\ntrain_data: d\nlearning_rate: 1e-5\nmax_steps: 7\ninit: true\ntag:\n"
    )
    got = parse(["--config", str(file), "--max_steps", "9"])
    assert got == config(learning_rate=1e-5, max_steps=9, init=True, config=str(file))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: 1", r"unknown key 'learning_rat'; did you mean 'learning_rate'"),
        ("tag: [1, 2]", r"tag: expected one value, a text, found \[1, 2\]"),
        ("max_steps: many", r"max_steps: expected a whole number, found 'many'"),
        ("max_steps: 1.5", r"max_steps: expected a whole number, found 1.5"),
        ("max_steps: true", r"max_steps: expected a whole number, found True"),
        ("learning_rate: fast", r"learning_rate: expected a number, found 'fast'"),
        ("init: 1", r"init: expected true or false, found 1"),
        ("model: 2024-01-01", r"model: expected one value, a text, found datetime"),
        ("model: 2024-13-01", r"run.yaml: month must be in"),
        ("dtype: float16", r"dtype: expected one of auto, float32, bfloat16, found 'float16'"),
        ("seed: 1\ntag: 5\nseed: 2", r"run.yaml: line 3: seed is there twice"),
        ("- a", r"expected `key: value` lines"),
        ("a: [", r"not valid YAML"),
    ],
)
def test_wrong_files_are_refused_by_key(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        parse(["--config", str(file)])


@pytest.mark.parametrize(
    ("arguments", "typed"),
    [
        (["--model", "m"], "model"),
        (["--model=m", "--pipe-parallel-size=2"], "model pipe_parallel_size"),
        (["--no_init", "--no_shuf", "--no_save"], "init no_shuf no_save"),
        (["--no_no_shuf"], "no_shuf"),
        (["--local_rank=1"], ""),
        (["--config=run.yaml", "--seed", "1"], "config seed max_steps init"),
    ],
)
def test_what_was_typed_is_known(
    arguments: list[str], typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.yaml").write_text("max_steps: 5\ninit: false\ntag:\n")
    monkeypatch.chdir(tmp_path)
    assert typed_flags(arguments) == set(typed.split())


def test_an_unknown_flag_is_refused_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(["--model", "m", "--pipe_paralel_size", "2"])
    assert stop.value.code == 2
    assert "--pipe-parallel-size" in capsys.readouterr().err.replace("_", "-")


@pytest.mark.parametrize(
    ("changes", "world", "message"),
    [
        ({"global_batch_size": 6}, 4, "--global_batch_size 6 does not divide .*: take 4 or 8"),
        ({"global_batch_size": 2}, 4, "take 4$"),
        ({"pipe_parallel_size": 3}, 4, "--pipe_parallel_size 3 does not divide the 4 processes"),
        ({"resume_ckpt": "a", "from_ckpt": "b"}, 1, "exclude each other"),
        ({"tag": "5"}, 1, "--tag names a checkpoint"),
        ({"train_data": ""}, 1, "--train_data is missing"),
        ({"num_train_epochs": 0}, 1, "give --output_dir"),
        ({"steps_per_checkpoint": 5}, 1, "needs --checkpoint"),
        ({"steps_per_eval": 5}, 1, "needs --eval_data"),
        ({"adam_beta2": 1.0}, 1, "--adam_beta2 1.0: at least 0, below 1"),
        ({"learning_rate": float("nan")}, 1, "--learning_rate nan"),
        ({"steps_per_eval": 0, "eval_data": "e"}, 1, "--steps_per_eval 0: at least 1, or -1"),
    ],
)
def test_contradictions_name_the_flag(changes: dict, world: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layout(config(**({"no_save": "checkpoint" not in changes} | changes)), world)


def test_layout_counts_micro_batches() -> None:
    got = layout(
        config(pipe_parallel_size=2, micro_batch_size=3, global_batch_size=24, no_save=True), 8
    )
    assert (got.stages, got.replicas, got.micro_batches) == (2, 4, 2)


def test_all_contradictions_are_told_at_once() -> None:
    wrong = config(train_data="", steps_per_eval=3, micro_batch_size=0, no_save=True)
    assert len(list(problems(wrong, 1))) == 3


def test_total_steps_are_the_fewer_of_epochs_and_max_steps() -> None:
    assert total_steps(config(num_train_epochs=3), 10) == 30
    assert total_steps(config(num_train_epochs=3, max_steps=7), 10) == 7
    with pytest.raises(ValueError, match="--global_batch_size 8 is more than all rows"):
        total_steps(config(), 0)


def test_resuming_with_another_seed_is_refused() -> None:
    state = {"seed": 1, "global_batch_size": 8, "data_digest": "x", "shuffled": True}
    assert resume_problems(state, state) == []
    (problem,) = resume_problems(state, state | {"seed": 2})
    assert problem.startswith("--seed: the checkpoint's run had 1, this one has 2")


def test_flags_are_checked_without_importing_torch() -> None:
    code = (
        "import sys, jllm.parallel.config.checks, jllm.parallel.config.config;"
        "import jllm.parallel.distributed.launch;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
