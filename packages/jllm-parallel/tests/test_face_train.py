"""`jllm.parallel.train` does what the command does, and leaves the process as it was."""

import io
import os
import signal
import subprocess
import sys
import threading

import pytest
import torch
from rich.console import Console

import jllm.parallel as jp
from training_helpers import MAX_LEN, checkpoint_bytes, losses, write_data, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data") / "train", rows=40)


def test_the_checkpoint_has_the_bytes_of_the_command(model, data, tmp_path, capfd):
    command = [sys.executable, "-m", "jllm.train_pipe", "--model", model, "--train_data", data]
    limits = ["--max_steps", "3", "--steps_per_checkpoint", "2", "--threads", "1"]
    told = [*command, "--checkpoint", tmp_path / "command", *limits]
    subprocess.run(told, check=True, capture_output=True)
    report = jp.train(
        model=model,
        train_data=data,
        checkpoint=tmp_path / "function",
        max_steps=3,
        steps_per_checkpoint=2,
        threads=1,
    )
    assert capfd.readouterr() == ("", "")
    for step in (2, 3):
        command_bytes = checkpoint_bytes(tmp_path / "command", step)
        assert checkpoint_bytes(tmp_path / "function", step) == command_bytes
    assert losses(tmp_path / "function") == losses(tmp_path / "command")
    assert (report.steps, report.ended) == (3, True)
    assert report.loss == losses(tmp_path / "function")[-1]
    assert report.checkpoint == tmp_path / "function" / "3"
    assert report.metrics.is_file()
    assert str(report) == repr(report)
    assert f"3 steps, last loss {report.loss:.4f}, checkpoint {report.checkpoint}" == str(report)


def test_the_process_is_as_it_was_and_trains_again(model, data, tmp_path):
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers, threads = [signal.getsignal(n) for n in numbers], torch.get_num_threads()
    files, running = len(os.listdir("/proc/self/fd")), threading.active_count()
    options = {"model": model, "train_data": data, "threads": 3, "eval_data": data}
    first = jp.train(**options, checkpoint=tmp_path / "a", max_steps=2)
    again = jp.train(**options, checkpoint=tmp_path / "b", max_steps=2)
    assert checkpoint_bytes(tmp_path / "a", 2) == checkpoint_bytes(tmp_path / "b", 2)
    assert first.eval_loss == again.eval_loss is not None
    more = jp.train(**options, resume_ckpt=tmp_path / "a", max_steps=-1)  # not the checkpoint's 2
    assert more.steps == 5
    assert [signal.getsignal(n) for n in numbers] == handlers
    assert torch.get_num_threads() == threads
    assert threading.active_count() <= running
    assert len(os.listdir("/proc/self/fd")) <= files + 2
    assert callable(jp.train)


def test_after_an_error_locks_and_threads_are_free(model, tmp_path):
    wrong = write_data(tmp_path / "wrong", rows=16)
    other = write_model(tmp_path / "small", layers=1)
    weights = other / "model.safetensors"
    whole, running = weights.read_bytes(), threading.active_count()
    options = {"model": other, "train_data": wrong, "checkpoint": tmp_path / "run", "max_steps": 1}
    weights.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="safetensors") as kept:
        jp.train(**options)
    weights.write_bytes(whole)
    assert jp.train(**options).steps == 1  # while the error, and what it refers to, is alive
    assert kept.value is not None and threading.active_count() <= running


def test_another_thread_trains_without_touching_signals(model, data, tmp_path):
    found = []

    def work():
        found.append(jp.train(model=model, train_data=data, checkpoint=tmp_path, max_steps=1))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found and found[0].steps == 1 and (tmp_path / "1").is_dir()


def test_an_interrupt_lets_the_step_end_and_saves(model, data, tmp_path):
    class Interrupting(io.StringIO):
        def write(self, text):
            if "step 2/" in text:
                os.kill(os.getpid(), signal.SIGINT)
            return super().write(text)

    console = Console(file=Interrupting(), width=200)
    report = jp.train(model=model, train_data=data, checkpoint=tmp_path, console=console)
    assert not report.ended and report.steps == 3
    assert report.checkpoint == tmp_path / "3" and "3 steps (interrupted)" in str(report)


def test_a_console_is_told_of_the_run(model, data, tmp_path, capfd):
    text = io.StringIO()
    jp.train(
        model=model,
        train_data=data,
        checkpoint=tmp_path,
        max_steps=1,
        console=Console(file=text, width=200),
    )
    assert f"40 rows of {MAX_LEN} ids" in text.getvalue() and "saved" in text.getvalue()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"max_step": 3}, "^max_step: no such keyword; did you mean max_steps"),
        ({"max_steps": 0}, "^max_steps 0: at least 1"),
        ({"max_steps": "3"}, "^max_steps is '3', expected a whole number"),
        ({"schedule": "2f2b"}, "^schedule is '2f2b', expected one of"),
        ({"pipe_parallel_size": 2}, "^pipe_parallel_size 2 does not divide the 1 processes"),
        ({"config": "a.yaml"}, "^config: is for the command line"),
        ({"train_data": ""}, "^train_data is missing"),
        ({"model": "nowhere"}, "nowhere"),
    ],
)
def test_a_wrong_flag_is_named_as_a_keyword(model, data, tmp_path, flags, words):
    options = {"model": model, "train_data": data, "checkpoint": tmp_path / "run"}
    with pytest.raises(ValueError, match=words):
        jp.train(**(options | flags))
    assert not list(tmp_path.iterdir())
