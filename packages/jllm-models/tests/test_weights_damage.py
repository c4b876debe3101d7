"""Missing, cut and damaged files are refused with the file's name, before they do harm."""

import errno
import json
import os
import resource
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jllm.models.weights.format import read_header
from jllm.models.weights.plan import plan_files
from jllm.models.weights.read import load_slices, open_weights
from jllm.models.weights.slices import whole
from jllm.models.weights.write import allocate, create_files
from weights_helpers import fill, write_all

SHAPES = {"a": (5, 3), "b": (7,)}
SLICES = [whole(name, name, shape) for name, shape in SHAPES.items()]


def written(directory: Path, limit: int = 2**40) -> Path:
    """Write the small model and return its directory."""
    model = fill(SHAPES, torch.float32)
    write_all(directory / "m", SHAPES, torch.float32, [(SLICES, model)], max_shard_bytes=limit)
    return directory / "m"


def empty() -> dict[str, torch.Tensor]:
    """Return parameters to load into."""
    return {name: torch.zeros(shape) for name, shape in SHAPES.items()}


def test_a_file_cut_anywhere_is_refused_by_name(tmp_path) -> None:
    file = written(tmp_path) / "model.safetensors"
    data = file.read_bytes()
    for length in range(len(data)):
        file.write_bytes(data[:length])
        with pytest.raises(ValueError, match="model.safetensors: "):
            load_slices(file.parent, SLICES, empty())


def test_bytes_behind_the_tensors_are_refused(tmp_path) -> None:
    file = written(tmp_path) / "model.safetensors"
    with file.open("ab") as out:
        out.write(b"xyz")
    with pytest.raises(ValueError, match="model.safetensors: 3 bytes too many"):
        load_slices(file.parent, SLICES, empty())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_flipped_bit_in_a_header_is_refused_or_changes_no_value(tmp_path_factory, data) -> None:
    file = written(tmp_path_factory.mktemp("flip")) / "model.safetensors"
    content = bytearray(file.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    content[data.draw(st.integers(0, header - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    found = empty()
    try:
        load_slices(file.parent, SLICES, found)
    except ValueError as error:
        assert str(file.parent) in str(error)
    else:
        expected = fill(SHAPES, torch.float32)
        assert all(torch.equal(found[name], expected[name]) for name in SHAPES)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "F31", "shape": [1], "data_offsets": [0, 4]}, "dtype F31"),
        ({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}, "not described"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "needs 8 bytes"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}, "begins at byte"),
        ({"dtype": "F32", "shape": [1]}, "not described"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [0]}, "not two"),
        ([1], "not described"),
    ],
)
def test_a_wrong_description_of_a_tensor_is_refused(tmp_path, entry, message) -> None:
    text = json.dumps({"t": entry}).encode()
    (tmp_path / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(ValueError, match=f"x.safetensors: .*{message}"):
        read_header(tmp_path / "x.safetensors")


def test_a_header_that_is_no_json_object_is_refused(tmp_path) -> None:
    for text in (b"[1]", b"\xff\xfe", b"[" * 100_000, b""):
        (tmp_path / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
        with pytest.raises(ValueError, match="x.safetensors: the header is"):
            read_header(tmp_path / "x.safetensors")


def test_all_missing_tensors_and_wrong_shapes_are_in_one_error(tmp_path) -> None:
    wanted = [whole("a", "a", (5, 4)), whole("b", "b", (7,)), whole("c", "c", (1,))]
    with pytest.raises(ValueError) as error:
        load_slices(written(tmp_path), wanted, {})
    assert "2 tensors do not fit" in str(error.value)
    assert "a has shape [5, 3], the model wants [5, 4]" in str(error.value)
    assert "c is missing" in str(error.value)


def test_a_missing_shard_and_a_missing_tensor_are_named(tmp_path) -> None:
    directory = written(tmp_path, limit=1)
    first, second = sorted(directory.glob("*.safetensors"))
    saved = second.read_bytes()
    second.unlink()
    with pytest.raises(ValueError, match=f"missing: {second.name}"):
        open_weights(directory)
    second.write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match=f"missing: b in {second.name}"):
        open_weights(directory)
    second.write_bytes(saved)
    assert open_weights(directory).tensors.keys() == SHAPES.keys()


@pytest.mark.parametrize("index", ["{", "[]", '{"weight_map": 3}', '{"weight_map": {"a": 1}}'])
def test_a_damaged_index_is_refused(tmp_path, index) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ValueError, match="model.safetensors.index.json: .*weight_map"):
        open_weights(tmp_path)


def test_an_index_cannot_name_files_elsewhere(tmp_path) -> None:
    index = {"weight_map": {"a": "../model.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="outside its directory"):
        open_weights(tmp_path)


def test_a_directory_without_weights_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="holds neither model.safetensors nor"):
        open_weights(tmp_path)


def test_no_room_for_the_files_is_an_oserror(tmp_path) -> None:
    plan = plan_files({"a": (torch.float32, (1024, 1024))})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large; make room .*model.safetensors"):
            create_files(tmp_path, plan)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_cannot_reserve_space_still_gets_full_size_files(tmp_path, monkeypatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with (tmp_path / "f").open("wb") as out:
        allocate(out.fileno(), 12_345)
    assert (tmp_path / "f").stat().st_size == 12_345


def test_two_answers_to_which_files_hold_the_model_are_refused(tmp_path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match="holds both model.safetensors and"):
        open_weights(tmp_path)


def test_pickled_weights_are_named_as_what_to_convert(tmp_path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="save it again with safe_serialization=True"):
        open_weights(tmp_path)
