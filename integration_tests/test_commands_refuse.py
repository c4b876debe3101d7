"""Mistakes at the real commands: one line that names what is wrong, and exit code 2."""

import pytest

import flow_helpers as flow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model directory."""
    folder = tmp_path_factory.mktemp("model")
    flow.make_model(folder, flow.make_tokenizer(folder, ["What colour is the ball?"] * 4))
    return folder


def assert_refused(arguments, *named):
    done = flow.run(*arguments)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in done.stderr, done.stderr
    assert not [word for word in named if str(word) not in lines[0]], lines[0]


def test_a_malformed_line_is_named_and_leaves_no_output(model, tmp_path):
    source, out = tmp_path / "chats.jsonl", tmp_path / "ids"
    source.write_text('[{"user": "a"}, {"assistant": "b"}]\n[{"user": "a"},\n')
    command = ("-m", "jllm.raw2ids", "--tokenizer", model, "-i", source, "-o", out)
    assert_refused(command, f"{source}:2")
    assert not out.exists() or not list(out.iterdir())


def test_a_missing_input_is_named(model, tmp_path):
    command = ("-m", "jllm.raw2ids", "--tokenizer", model, "-i", tmp_path / "absent.jsonl")
    assert_refused((*command, "-o", tmp_path / "ids"), tmp_path / "absent.jsonl")


def test_missing_training_data_is_named(model, tmp_path):
    command = ("-m", "jllm.train_pipe", "--model", model, "--train_data", tmp_path / "absent")
    assert_refused((*command, "--no_save"), tmp_path / "absent")


def test_more_stages_than_processes_are_refused(model, tmp_path):
    command = ("-m", "jllm.train_pipe", "--model", model, "--train_data", tmp_path)
    assert_refused((*command, "--no_save", "--pipe_parallel_size", "2"), "--pipe_parallel_size")
