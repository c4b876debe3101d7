"""A saved checkpoint is a model directory that holds everything; the folder stays in order."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from checkpoint_helpers import SHAPES, assert_loads, contents, held, model_only, values
from jllm.models.weights.manifest import CheckpointError
from jllm.models.weights.read import open_weights
from jllm.parallel.checkpoint import folder as folders
from jllm.parallel.checkpoint.contents import CheckpointContents, model_files
from jllm.parallel.checkpoint.folder import find, survey
from jllm.parallel.checkpoint.group import SingleProcess
from jllm.parallel.checkpoint.save import save_checkpoint
from jllm.parallel.checkpoint.state import read_state
from jllm.parallel.checkpoint.verify import verify


def names(folder) -> set[str]:
    """Return the names in a folder."""
    return {path.name for path in folder.iterdir()}


def test_everything_that_was_saved_is_loaded_on_any_layout(tmp_path) -> None:
    path = save_checkpoint(tmp_path, contents(3), SingleProcess())
    assert path == tmp_path / "3"
    assert names(path) == {
        "config.json", "tokenizer.json", "model.safetensors", "trainer", "manifest.json",
    }  # fmt: skip
    assert names(path / "trainer") == {
        "state.json", "exp_avg.safetensors", "exp_avg_sq.safetensors",
    }  # fmt: skip
    for size in (1, 2, 5):
        for rank in range(size):
            assert_loads(path, 3, rank, size)
    assert read_state(path)["step"] == 3
    verify(find(tmp_path))


def test_weights_in_bfloat16_keep_float32_masters_apart(tmp_path) -> None:
    files = {"config.json": b'{"dtype": "bfloat16"}'}
    kept = contents(3, dtype=torch.bfloat16)
    path = save_checkpoint(
        tmp_path, CheckpointContents(**{**vars(kept), "files": files}), SingleProcess()
    )
    assert open_weights(path).tensors["model.norm.weight"][1].dtype == torch.bfloat16
    assert (path / "trainer" / "master.safetensors").exists()
    assert_loads(path, 3)


def test_large_models_become_shards_with_an_index(tmp_path) -> None:
    path = save_checkpoint(tmp_path, contents(1), SingleProcess(), max_shard_bytes=400)
    index = json.loads((path / "model.safetensors.index.json").read_bytes())
    assert index["weight_map"].keys() == SHAPES.keys()
    for tensor, file in index["weight_map"].items():
        assert torch.equal(load_file(path / file)[tensor], values("master", 1)[tensor])
    assert (path / "trainer" / "exp_avg_sq.safetensors.index.json").exists()
    assert_loads(path, 1, 1, 3)


def test_a_model_saved_alone_has_no_trainer_and_says_so_when_resumed(tmp_path) -> None:
    path = save_checkpoint(tmp_path, model_only(4), SingleProcess())
    assert names(path) == {"config.json", "tokenizer.json", "model.safetensors", "manifest.json"}
    assert not find(tmp_path).manifest.resumable
    with pytest.raises(CheckpointError, match="--from_ckpt"):
        read_state(path)


def test_only_the_newest_are_kept_and_nothing_else_is_touched(tmp_path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "mine.txt").write_text("not a checkpoint")
    (tmp_path / "notes").write_text("mine")
    for step in (1, 2, 3, 10):
        save_checkpoint(tmp_path, contents(step), SingleProcess(), keep=2)
    assert names(tmp_path) == {"3", "10", "7", "notes", "latest"}
    assert (tmp_path / "latest").read_text() == "10\n"
    assert find(tmp_path).path == tmp_path / "10"


def test_a_run_that_went_back_continues_from_its_own_checkpoints(tmp_path) -> None:
    for step in (10, 20, 30):
        save_checkpoint(tmp_path, contents(step), SingleProcess(), keep=3)
    save_checkpoint(tmp_path, contents(15), SingleProcess(), keep=3)
    assert find(tmp_path).path.name == "15"
    assert [found.path.name for found in survey(tmp_path)[0]] == ["20", "30", "15"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_saving_a_step_again_replaces_it(tmp_path, monkeypatch, can_exchange) -> None:
    if not can_exchange:
        monkeypatch.setattr(folders, "exchange", lambda one, other: False)
    save_checkpoint(tmp_path, model_only(5), SingleProcess())
    save_checkpoint(tmp_path, contents(5), SingleProcess())
    assert names(tmp_path) == {"5", "latest"}
    assert find(tmp_path).manifest.resumable
    assert_loads(tmp_path / "5", 5)


def test_slices_that_leave_something_out_or_come_twice_are_refused(tmp_path) -> None:
    half, everything = held("master", 1, 0, 2), contents(1)
    twice = held("master", 1, 0, 1)
    for weights in (half, type(half)(**{**vars(twice), "slices": twice.slices * 2})):
        wrong = CheckpointContents(**{**vars(everything), "weights": weights})
        with pytest.raises(CheckpointError, match="model.safetensors: the ranks wrote"):
            save_checkpoint(tmp_path, wrong, SingleProcess())
        assert names(tmp_path) == set()


def test_a_model_directorys_files_go_along_with_the_saved_dtype(tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "torch_dtype": "float32"}')
    for name in ("tokenizer.json", "generation_config.json", "model.safetensors", "modeling_x.py"):
        (tmp_path / name).write_text(name)
    files = model_files(tmp_path, torch.bfloat16)
    assert files.keys() == {"config.json", "tokenizer.json", "generation_config.json"}
    assert json.loads(files["config.json"]) == {"model_type": "llama", "dtype": "bfloat16"}
    assert files["tokenizer.json"] == b"tokenizer.json"


def test_a_buffer_is_float32_in_the_model_and_has_no_optimizer_state(tmp_path) -> None:
    kept = contents(3, dtype=torch.bfloat16)
    buffer = next(iter(kept.shapes))
    optimizer = {
        kind: replace(part, slices=tuple(s for s in part.slices if s.tensor != buffer))
        for kind, part in kept.optimizer.items()
    }
    weights = replace(kept.weights, tensors=held("master", 3, 0, 1).tensors)
    made = replace(kept, weights=weights, optimizer=optimizer, buffers=frozenset({buffer}))
    path = save_checkpoint(tmp_path, made, SingleProcess())
    model, moments = (
        load_file(path / "model.safetensors"),
        load_file(path / "trainer/exp_avg.safetensors"),
    )
    assert torch.equal(model[buffer], values("master", 3)[buffer])
    assert {name for name, tensor in model.items() if tensor.dtype == torch.float32} == {buffer}
    assert moments.keys() == kept.shapes.keys() - {buffer}
