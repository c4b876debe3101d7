"""What would end a run later, or with a traceback, is a sentence before it starts."""

import dataclasses
import json
import os
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from jllm.models.families import read_config
from jllm.parallel.config.checks import problems, total_steps
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.distributed import mesh
from jllm.parallel.distributed.device import naming_full_memory
from jllm.parallel.distributed.launch import Launch
from jllm.parallel.lora.adapter import lora_of
from jllm.parallel.training.command import run
from jllm.parallel.training.folders import check_folders
from jllm.parallel.training.metrics import Reporter
from training_helpers import write_data, write_model

RUN = TrainConfig(model="m", train_data="d", no_save=True)
NUMBERS = [f.name for f in dataclasses.fields(RUN) if isinstance(getattr(RUN, f.name), float)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("flag", NUMBERS)
def test_a_number_is_finite(flag: str, value: float) -> None:
    config = dataclasses.replace(RUN, lora_dim=4, **{flag: value})
    assert f"--{flag} {value}: a number that is finite" in list(problems(config, 1))


def test_a_warm_up_is_no_longer_than_the_run() -> None:
    config = dataclasses.replace(RUN, num_warmup_steps=11.0)
    with pytest.raises(ValueError, match="--num_warmup_steps 11: the run has 10 steps"):
        total_steps(config, 10)
    assert total_steps(config, 11) == 11
    assert total_steps(dataclasses.replace(config, num_warmup_steps=0.9), 1) == 1


@pytest.mark.parametrize("flag", ["checkpoint", "output_dir", "log_dir"])
def test_folders_that_cannot_be_written_are_named(
    flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "model").mkdir()
    sources = {"--model M": tmp_path / "model"}
    for name, said in (
        ("file", "file is a file; name a folder"),
        ("file/below", "file is a file; name a folder"),
        ("model", "lies in --model M, which is read"),
        ("model/run", "lies in --model M, which is read"),
    ):
        config = dataclasses.replace(RUN, **{flag: str(tmp_path / name)})
        with pytest.raises(ValueError, match=f"--{flag} .*{said}"):
            check_folders(config, sources)
    config = dataclasses.replace(RUN, **{flag: str(tmp_path / "new/run")})
    check_folders(config, sources)
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(ValueError, match=f"--{flag} .*{tmp_path} cannot be written"):
        check_folders(config, sources)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "llama", layers=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_data(tmp_path_factory.mktemp("data") / "rows", 40))


def plan(capsys: pytest.CaptureFixture[str], **flags: object) -> tuple[int, str]:
    """The exit code of a dry run, and what it says."""
    values = {"dry_run": True, "no_save": True} | flags
    given = [f"--{k}" if v is True else f"--{k}={v}" for k, v in values.items() if v is not False]
    return run(given), capsys.readouterr().err


def copy(model: Path, to: Path, **changes: object) -> Path:
    """The model's configuration with changes, without its weights."""
    to.mkdir()
    values = json.loads((model / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(values | changes))
    return to


def test_a_dry_run_refuses_weights_that_the_run_would_refuse(
    model: Path, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = copy(model, tmp_path / "bare")
    code, said = plan(capsys, model=bare, train_data=data)
    assert code == 2 and f"--model {bare}: holds neither" in said and "give --init" in said
    assert plan(capsys, model=bare, train_data=data, init=True)[0] == 0
    whole = (model / "model.safetensors").read_bytes()
    (bare / "model.safetensors").write_bytes(whole[:-4])
    code, said = plan(capsys, model=bare, train_data=data)
    assert code == 2 and "cut short" in said
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"] = torch.ones(15)
    save_file(tensors, bare / "model.safetensors")
    code, said = plan(capsys, model=bare, train_data=data)
    assert code == 2 and "model.norm.weight has shape [15], the model wants [16]" in said


def test_a_dry_run_refuses_a_folder_that_is_a_file(
    model: Path, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    flags = {"model": model, "train_data": data, "checkpoint": tmp_path / "file", "no_save": False}
    code, said = plan(capsys, **flags)
    assert code == 2 and f"{tmp_path / 'file'} is a file; name a folder" in said


def test_one_process_plans_for_any_number(
    model: Path, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = {"model": model, "train_data": data, "pipe_parallel_size": 2}
    code, said = plan(capsys, **flags, world_size=8)
    assert code == 0 and "2 pipeline stages × 4 replicas" in said
    code, said = plan(capsys, **flags)
    assert code == 2 and "--dry_run --world_size" in said
    code, said = plan(capsys, **flags, world_size=8, dry_run=False)
    assert code == 2 and "--world_size plans with --dry_run" in said


def test_sizes_that_no_model_has_are_refused(model: Path, tmp_path: Path) -> None:
    huge = copy(model, tmp_path / "huge", vocab_size=10**12)
    with pytest.raises(ValueError, match="vocab_size must be at most 2,147,483,648, found 1,000"):
        read_config(huge)
    for rank, said in ((8, ""), (9, r"--lora_dim 9: .*k_proj.* of \[8, 16\], whose rank is 8")):
        config = dataclasses.replace(RUN, lora_dim=rank)
        if not said:
            assert lora_of(config, read_config(model))
        else:
            with pytest.raises(ValueError, match=said):
                lora_of(config, read_config(model))


def test_what_does_not_fit_the_memory_is_a_sentence() -> None:
    cpu = torch.device("cpu")
    for size in (2**58, 2**62):
        with (
            pytest.raises(ValueError, match="the model does not fit the memory of cpu"),
            naming_full_memory(cpu, "the model"),
        ):
            torch.empty(size)
    with pytest.raises(RuntimeError, match="other"), naming_full_memory(cpu, "the model"):
        raise RuntimeError("other")


def test_a_port_in_use_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for name, value in (("RANK", 0), ("WORLD_SIZE", 2), ("MASTER_PORT", port)):
            monkeypatch.setenv(name, str(value))
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        launch = Launch(rank=0, world_size=2, local_rank=0, local_world_size=2)
        said = f"cannot meet at 127.0.0.1:{port}: is in use by"
        with (
            pytest.raises(ValueError, match=said),
            mesh.joined(launch, torch.device("cpu"), 60),
        ):
            pass


def test_a_folder_that_is_removed_is_made_again_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run" / "metrics.jsonl"
    reporter = Reporter(file.parent, first_step=0, total_steps=9)
    reporter.evaluation(1, 0.5, 3)
    file.unlink()
    reporter.evaluation(2, 0.25, 3)
    reporter.close()
    assert [json.loads(line)["step"] for line in file.read_text().splitlines()] == [2]
    assert f"{file.parent}: was removed; metrics before step 2 are lost" in capsys.readouterr().err


def test_damaged_weights_are_not_written_out_again(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, again = tmp_path / "whole", tmp_path / "again"
    flags = ["--num_train_epochs=0", "--threads=1", f"--log_dir={tmp_path / 'log'}"]
    assert run([f"--model={model}", f"--output_dir={whole}", *flags]) == 0
    data = bytearray((whole / "model.safetensors").read_bytes())
    data[-8] ^= 4
    (whole / "model.safetensors").write_bytes(data)
    assert run([f"--model={whole}", f"--output_dir={again}", *flags]) == 2
    assert f"{whole}: not as it was written: model.safetensors" in capsys.readouterr().err
    assert not again.exists()
