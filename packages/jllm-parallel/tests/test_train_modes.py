"""What else `jllm.train_pipe` does: from a config alone, conversion, a dry run, clear refusals."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from jllm.data.reading.dataset import open_dataset
from jllm.data.reading.reader import LaneReader
from jllm.models.config.units import unit_count
from jllm.models.decoder.load import load_stage
from jllm.models.decoder.stage import Stage
from jllm.models.families import read_config
from jllm.models.layers.documents import Documents
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.training.command import run
from training_helpers import alone, losses, metrics, write_data, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("model") / "llama"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_data(tmp_path_factory.mktemp("data") / "rows", 40))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # runs without --log_dir write jllm_log there


def test_logits_of_a_checkpoint_equal_those_of_transformers(
    model: str, data: str, tmp_path: Path
) -> None:
    alone(
        TrainConfig(
            threads=1, model=model, train_data=data, max_steps=3, checkpoint=str(tmp_path / "c")
        )
    )
    saved = tmp_path / "c" / "3"
    config = read_config(saved)
    stage = Stage(config, range(unit_count(config)))
    load_stage(stage, config, saved)
    theirs = AutoModelForCausalLM.from_pretrained(saved)
    tokens = torch.arange(1, 30)
    with torch.no_grad():
        ours = stage.logits(tokens, Documents.from_bounds([0, 29]))
        difference = (ours - theirs(tokens[None]).logits[0]).norm() / ours.norm()
    assert difference <= 1e-5


def test_init_trains_from_a_config_alone(model: str, data: str, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text((Path(model) / "config.json").read_text())
    config = TrainConfig(
        threads=1,
        model=str(bare),
        train_data=data,
        init=True,
        learning_rate=1e-2,
        num_train_epochs=4,
        checkpoint=str(tmp_path / "c"),
    )
    alone(config)
    found = losses(tmp_path / "c")
    assert len(found) == 20 and sum(found[-5:]) < sum(found[:5])


def test_a_checkpoint_becomes_a_plain_model_directory(
    model: str, data: str, tmp_path: Path
) -> None:
    alone(
        TrainConfig(
            threads=1, model=model, train_data=data, max_steps=2, checkpoint=str(tmp_path / "c")
        )
    )
    out = tmp_path / "out"
    values = TrainConfig(
        threads=1,
        model=model,
        num_train_epochs=0,
        from_ckpt=str(tmp_path / "c"),
        tag="2",
        output_dir=str(out),
        log_dir=str(tmp_path / "log"),
    )
    alone(values)
    saved, made = (load_file(p / "model.safetensors") for p in (tmp_path / "c" / "2", out))
    assert saved.keys() == made.keys() and all(torch.equal(saved[n], made[n]) for n in saved)
    assert not (out / "trainer").exists()
    assert AutoModelForCausalLM.from_pretrained(out).num_parameters() > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "log", "out"]


def test_bfloat16_saves_float32_masters_and_resumes(model: str, data: str, tmp_path: Path) -> None:
    def config(name: str, **changes: object) -> TrainConfig:
        values = {"model": model, "train_data": data, "dtype": "bfloat16", "threads": 1}
        values |= {"checkpoint": str(tmp_path / name), "learning_rate": 1e-2}
        return TrainConfig(**(values | changes))  # type: ignore[arg-type]

    alone(config("whole", steps_per_checkpoint=2))
    resumed = config("resumed", resume_ckpt=str(tmp_path / "whole"), tag="2")
    alone(resumed)
    assert losses(tmp_path / "resumed") == losses(tmp_path / "whole")[2:]
    end = tmp_path / "whole" / "5"
    weights = load_file(end / "model.safetensors")
    masters = load_file(end / "trainer" / "master.safetensors")
    assert all(torch.equal(weights[n], masters[n].bfloat16()) for n in weights)
    assert json.loads((end / "config.json").read_text())["dtype"] == "bfloat16"


def test_float32_goes_on_from_the_masters_of_bfloat16(
    model: str, data: str, tmp_path: Path
) -> None:
    kept = tmp_path / "narrow"
    config = TrainConfig(threads=1, model=model, train_data=data, checkpoint=str(kept), max_steps=3)
    alone(TrainConfig(**(vars(config) | {"dtype": "bfloat16"})))
    still = {"resume_ckpt": str(kept), "checkpoint": str(tmp_path / "wide"), "max_steps": 4}
    alone(TrainConfig(**(vars(config) | still | {"dtype": "float32", "learning_rate": 0.0})))
    masters = load_file(kept / "3" / "trainer" / "master.safetensors")
    weights = load_file(tmp_path / "wide" / "4" / "model.safetensors")
    assert all(torch.equal(weights[n], masters[n]) for n in weights)


def test_an_export_keeps_the_type_of_the_weights(model: str, data: str, tmp_path: Path) -> None:
    kept, out = tmp_path / "c", tmp_path / "out"
    config = TrainConfig(threads=1, model=model, train_data=data, checkpoint=str(kept), max_steps=1)
    alone(TrainConfig(**(vars(config) | {"dtype": "bfloat16"})))
    alone(TrainConfig(model=model, num_train_epochs=0, from_ckpt=str(kept), output_dir=str(out)))
    assert (out / "model.safetensors").read_bytes() == (
        kept / "1" / "model.safetensors"
    ).read_bytes()


def test_only_ckpt_model_saves_the_model_alone(model: str, data: str, tmp_path: Path) -> None:
    kept = tmp_path / "c"
    config = TrainConfig(
        threads=1, model=model, train_data=data, checkpoint=str(kept), only_ckpt_model=True
    )
    alone(TrainConfig(**(vars(config) | {"steps_per_checkpoint": 1, "max_num_checkpoints": 2})))
    assert sorted(p.name for p in kept.iterdir() if p.name.isdecimal()) == ["4", "5"]
    assert not (kept / "5" / "trainer").exists()
    with pytest.raises(ValueError, match="only_ckpt_model"):
        alone(TrainConfig(threads=1, model=model, train_data=data, resume_ckpt=str(kept)))


def test_held_out_loss_is_the_mean_over_every_row(model: str, data: str, tmp_path: Path) -> None:
    held_out = str(write_data(tmp_path / "held_out", 13, seed=3))
    config = TrainConfig(
        threads=1,
        model=model,
        train_data=data,
        eval_data=held_out,
        max_steps=1,
        log_dir=str(tmp_path / "log"),
        no_save=True,
    )
    alone(config)
    stage_config = read_config(Path(model))
    stage = Stage(stage_config, range(unit_count(stage_config)))
    load_stage(stage, stage_config, Path(model))
    rows = LaneReader(
        open_dataset(Path(held_out)), seed=0, global_batch_size=1, lanes=range(1), shuffle=False
    )
    loss, tokens = 0.0, 0
    for step in range(13):
        row = rows.read(step)
        targets = torch.from_numpy(row.targets[0]).long()
        documents = Documents.from_bounds(row.bounds[0].tolist())
        with torch.no_grad():
            loss += float(stage(torch.from_numpy(row.tokens[0]).long(), documents, targets))
        tokens += int((targets != -100).sum())
    before = metrics(tmp_path / "log")[0]
    assert before["eval_tokens"] == tokens
    assert before["eval_loss"] == pytest.approx(loss / tokens, rel=1e-6)


def test_a_dry_run_prints_the_plan_and_starts_nothing(model: str, data: str) -> None:
    command = [sys.executable, "-m", "jllm.train_pipe", "--model", model, "--train_data", data]
    command += ["--pipe_parallel_size", "2", "--dry_run", "--no_save"]
    environment = {"WORLD_SIZE": "2", "RANK": "0", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "--partition_method fast: 0," in done.stderr
    assert "predicted bubble" in done.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pipe_parallel_size": "9"}, "--pipe_parallel_size 9"),
        ({"model": "/nowhere"}, "/nowhere"),
        ({"train_data": "/nowhere"}, "/nowhere"),
        ({"partition_method": "1,2,3"}, "--partition_method 1,2,3"),
        ({"global_batch_size": "41"}, "--global_batch_size 41 is more than all rows"),
        ({"resume_ckpt": "/nowhere"}, "/nowhere"),
        ({"attention": "magic"}, "magic"),
        ({"device": "npu"}, "--device npu"),
        ({"output_dir": "run", "checkpoint": "run"}, "take two folders"),
        ({"output_dir": "run", "log_dir": "run/log"}, "take two folders"),
        ({"output_dir": __file__}, "is there already"),
    ],
)
def test_mistakes_end_with_one_line_and_exit_code_2(
    model: str,
    data: str,
    changes: dict[str, str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", changes.get("pipe_parallel_size", "1"))
    flags = {"model": model, "train_data": data, "checkpoint": "kept"} | changes
    assert run([f"--{name}={value}" for name, value in flags.items()]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error") and message in last


def test_tokens_outside_the_vocabulary_are_refused(model: str, data: str, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    values = json.loads((Path(model) / "config.json").read_text())
    (small / "config.json").write_text(json.dumps(values | {"vocab_size": 50}))
    config = TrainConfig(
        threads=1, model=str(small), train_data=data, init=True, checkpoint=str(tmp_path / "l")
    )
    with pytest.raises(ValueError, match="vocabulary of 50"):
        alone(config)


@pytest.mark.parametrize("dry_run", [False, True])
def test_weights_that_the_model_does_not_have_are_refused(
    dry_run: bool, model: str, data: str, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_bytes((Path(model) / "config.json").read_bytes())
    tensors = load_file(Path(model) / "model.safetensors")
    tensors["model.layers.0.self_attn.q_proj.bias"] = torch.ones(16)
    save_file(tensors, other / "model.safetensors")
    config = TrainConfig(
        threads=1,
        model=str(other),
        train_data=data,
        dry_run=dry_run,
        checkpoint=str(tmp_path / "l"),
    )
    with pytest.raises(ValueError, match=r"1 tensors are not of .*\n.*q_proj\.bias"):
        alone(config)


def test_a_full_disk_leaves_the_older_checkpoint(model: str, data: str, tmp_path: Path) -> None:
    kept = tmp_path / "c"
    config = TrainConfig(threads=1, model=model, train_data=data, checkpoint=str(kept), max_steps=2)
    alone(config)
    more = vars(config) | {"resume_ckpt": str(kept), "max_steps": 5}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        with pytest.raises((ValueError, OSError), match="File too large|space"):
            alone(TrainConfig(**more))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [p.name for p in kept.iterdir() if p.is_dir() and p.name[0] != "t"] == ["2"]
    alone(TrainConfig(**more))
