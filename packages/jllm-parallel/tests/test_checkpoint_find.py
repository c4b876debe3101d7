"""Only complete checkpoints are found; whatever is damaged is named."""

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoint_helpers import contents
from jllm.models.weights.manifest import CheckpointError
from jllm.parallel.checkpoint.folder import clean, find
from jllm.parallel.checkpoint.group import SingleProcess
from jllm.parallel.checkpoint.save import save_checkpoint
from jllm.parallel.checkpoint.state import read_state
from jllm.parallel.checkpoint.verify import verify


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A folder with checkpoints 1 and 2, which tests copy."""
    folder = tmp_path_factory.mktemp("pristine")
    for step in (1, 2):
        save_checkpoint(folder, contents(step), SingleProcess(), max_shard_bytes=1000)
    return folder


@pytest.fixture
def folder(pristine, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(pristine, tmp_path / "checkpoints")


def test_the_newest_complete_one_is_found_whatever_latest_says(folder) -> None:
    (folder / "latest").write_text("1\n")
    assert find(folder).path.name == "2"
    (folder / "2" / "manifest.json").unlink()
    assert find(folder).path.name == "1"


@pytest.mark.parametrize("damage", ["missing", "short", "long"])
def test_one_with_a_wrong_file_is_passed_over_and_explained(folder, damage) -> None:
    file = min((folder / "2" / "trainer").glob("exp_avg-*.safetensors"))
    data = file.read_bytes()
    file.unlink() if damage == "missing" else file.write_bytes(
        data[:-1] if damage == "short" else data + b"x"
    )
    assert find(folder).path.name == "1"
    with pytest.raises(CheckpointError, match="can be: 1\n.*2/trainer/exp_avg-00001-.*: "):
        find(folder, "2")


def test_a_missing_tag_is_answered_with_those_there_are(folder) -> None:
    with pytest.raises(CheckpointError, match="no complete checkpoint 17; --tag can be: 1, 2"):
        find(folder, "17")


def test_an_empty_or_absent_folder_is_an_error(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="holds no complete checkpoint"):
        find(tmp_path)
    with pytest.raises(CheckpointError, match="holds no complete checkpoint"):
        find(tmp_path / "absent")


def test_a_checkpoint_may_be_named_itself(folder) -> None:
    assert find(folder / "1").manifest.step == 1


@settings(max_examples=150, deadline=None)
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_manifest_makes_it_incomplete(pristine, position, bit) -> None:
    path = pristine / "2" / "manifest.json"
    data = bytearray(path.read_bytes())
    flipped = bytearray(data)
    flipped[int(position * len(data))] ^= 1 << bit
    try:
        path.write_bytes(flipped)
        # Where JSON has white space, one kind of it may become another.
        assert find(pristine).path.name == "1" or json.loads(flipped) == json.loads(data)
    finally:
        path.write_bytes(data)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_verify_names_the_file_and_the_bytes_around_a_flipped_bit(pristine, data) -> None:
    found = find(pristine, "2")
    name = data.draw(st.sampled_from(sorted(found.manifest.files)))
    path = found.path / name
    content = path.read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    flipped = bytearray(content)
    flipped[position] ^= 1 << data.draw(st.integers(0, 7))
    try:
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError) as error:
            for rank in range(3):
                verify(found, rank, 3)
        words = str(error.value).partition(f"{name} bytes ")[2].split(";")[0].split()
        assert int(words[0]) <= position < int(words[2])
    finally:
        path.write_bytes(content)
    verify(found)


def test_cleaning_removes_what_killed_saves_left_and_nothing_else(folder) -> None:
    for name in (".tmp-save-3-0123abcd", ".tmp-remove-1-0123abcd", ".tmp-mine", "4"):
        (folder / name).mkdir()
        (folder / name / "file").write_text("x")
    clean(folder)
    assert {p.name for p in folder.iterdir()} == {"1", "2", "4", "latest", ".tmp-mine"}


def test_a_checkpoint_whose_replacement_was_interrupted_is_found_and_put_back(folder) -> None:
    (folder / "2").rename(folder / ".tmp-replace-2-0123abcd")
    verify(find(folder))
    assert find(folder, "2").path == find(folder).path == folder / ".tmp-replace-2-0123abcd"
    clean(folder)
    assert find(folder).path == folder / "2"
    verify(find(folder, "2"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "format version None"),
        ('{"format_version": 2}', "format version 2, this jllm reads 1"),
        ('{"format_version": 1, "step": 1}', "lacks seed, global_batch_size"),
    ],
)
def test_a_state_that_cannot_be_used_is_refused(folder, text, message) -> None:
    (folder / "2" / "trainer" / "state.json").write_text(text)
    with pytest.raises(CheckpointError, match=f"state.json: .*{message}"):
        read_state(folder / "2")
