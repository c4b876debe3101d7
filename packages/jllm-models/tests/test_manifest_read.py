"""A model that is not as its manifest says is neither used nor written out again."""

import json
import shutil
from pathlib import Path

import pytest

import jllm.models as jm
from generation_helpers import write_chat_model
from jllm.models.generation.command import run as generate
from jllm.models.lora.merge_command import run as merge
from jllm.models.weights.manifest import (
    FORMAT,
    NAME,
    VERSION,
    CheckpointError,
    content_digest,
    digest_of,
)
from jllm.models.weights.verify import verify_read
from lora_helpers import adapted_stage, write_adapter


def write_manifest(directory: Path) -> None:
    """Write what jllm.parallel writes, a chunk a file."""
    files = {str(p.relative_to(directory)): p for p in directory.rglob("*") if p.is_file()}
    sizes = {name: path.stat().st_size for name, path in sorted(files.items())}
    chunks = [[n, 0, sizes[n], 1, sizes[n], digest_of(files[n].read_bytes())] for n in sizes]
    content = {
        "format": FORMAT,
        "format_version": VERSION,
        "step": 1,
        "sequence": 1,
        "resumable": False,
        "files": sizes,
        "chunks": chunks,
    }
    text = json.dumps({**content, "digest": content_digest(content)})
    (directory / NAME).write_text(text)


def flip(path: Path) -> None:
    """Turn over a bit of the last byte but seven."""
    data = bytearray(path.read_bytes())
    data[-8] ^= 4
    path.write_bytes(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with its adapter beside it, as checkpoints have them."""
    folder = tmp_path_factory.mktemp("written") / "model"
    write_chat_model(folder)
    stage, lora = adapted_stage(folder, ["o_proj"])
    write_adapter(stage, lora, folder, folder / "adapter")
    write_manifest(folder)
    return folder


@pytest.fixture
def model(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "model"))


def answer(model: Path) -> int:
    return generate(["--model", str(model), "--prompt", "a", "--max_new_tokens", "1"])


def test_generate_refuses_damaged_weights_by_file_and_bytes(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(model) == 0
    flip(model / "model.safetensors")
    assert answer(model) == 2
    size = (model / "model.safetensors").stat().st_size
    said = capsys.readouterr().err
    assert f"not as it was written: model.safetensors bytes 0 to {size}" in said
    assert f"remove {model / NAME}" in said
    (model / NAME).unlink()
    assert answer(model) == 0


def test_loading_in_python_refuses_damaged_weights(model: Path) -> None:
    jm.load(model)
    flip(model / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"not as it was written: model.safetensors bytes"):
        jm.load(model)


@pytest.mark.parametrize("damaged", ["model.safetensors", "adapter/adapter_model.safetensors"])
def test_a_merge_writes_nothing_out_of_damaged_files(
    damaged: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", str(model), "--adapter", str(model / "adapter"), "--output"]
    assert merge([*flags, str(tmp_path / "whole")]) == 0
    flip(model / damaged)
    assert merge([*flags, str(tmp_path / "merged")]) == 2
    assert f"not as it was written: {damaged} bytes" in capsys.readouterr().err
    assert not (tmp_path / "merged").exists()


def test_what_is_missing_or_has_another_size_is_named(model: Path) -> None:
    (model / "generation_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"generation_config.json: has 2 bytes .*on purpose"):
        verify_read(model)
    (model / "generation_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"generation_config.json: is missing; .*on purpose"):
        verify_read(model)


def test_other_folders_of_a_checkpoint_need_not_be_there(model: Path) -> None:
    shutil.rmtree(model / "adapter")
    verify_read(model)


def test_a_damaged_manifest_is_refused_and_anothers_is_not_read(model: Path) -> None:
    whole = (model / NAME).read_text()
    for damaged in (whole[:-2], whole.replace('"step": 1', '"step": 2')):
        (model / NAME).write_text(damaged)
        with pytest.raises(CheckpointError, match=f"{NAME}: damaged"):
            verify_read(model)
    for other in ('{"files": []}', "no JSON"):
        (model / NAME).write_text(other)
        flip(model / "model.safetensors")
        verify_read(model)
