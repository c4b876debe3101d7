"""Raw files are converted once, by one process of a host, into the rows of raw2ids."""

import dataclasses
import errno
import gzip
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from jllm.data.convert import raw_file
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.distributed.launch import Launch
from jllm.parallel.training import command, raw_data
from jllm.parallel.training.raw_data import with_converted_data
from raw_data_helpers import CHATS, by_hand, rows, write_chats
from spawn_helpers import launch
from toy_tokenizer_helpers import write_tokenizer
from training_helpers import alone, checkpoint_bytes, losses

ONE = Launch(rank=0, world_size=1, local_rank=0, local_world_size=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "model"
    values = LlamaConfig(
        vocab_size=300, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    LlamaForCausalLM(values).save_pretrained(folder)
    return write_tokenizer(folder, 20)


@pytest.fixture
def config(tmp_path: Path, model: Path) -> TrainConfig:
    source = write_chats(tmp_path / "in" / "chats.jsonl")
    return TrainConfig(
        model=str(model), train_data=str(source), max_len=60, global_batch_size=2, max_steps=2,
        threads=1, checkpoint=str(tmp_path / "run"),
    )  # fmt: skip


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the files that were converted."""
    calls, real = [], raw_file.convert_raw

    def counted(path: Path, *rest: Any) -> None:
        calls.append(path.name)
        real(path, *rest)

    monkeypatch.setattr(raw_file, "convert_raw", counted)
    yield calls


def counted_train(config: TrainConfig, count: str) -> None:
    """Trains, and writes a byte for every conversion."""
    real = raw_file.convert_raw

    def counted(*arguments: Any) -> None:
        with open(count, "a") as file:
            file.write(".")
        real(*arguments)

    raw_file.convert_raw = counted
    command.train(config)


def test_two_processes_convert_once_and_train_as_on_rows_converted_by_hand(
    config: TrainConfig, tmp_path: Path
) -> None:
    launch(2, counted_train, config, str(tmp_path / "count"))
    assert (tmp_path / "count").read_text() == "."
    folder = tmp_path / "in" / "chats.jsonl_model_60"
    hand = by_hand(config, tmp_path / "hand")
    assert rows(folder) == rows(hand) != {}
    again = dataclasses.replace(
        config, train_data=str(hand), max_len=2049, checkpoint=str(tmp_path / "other")
    )
    launch(2, command.train, again)
    assert losses(tmp_path / "run") == losses(tmp_path / "other") != []
    assert checkpoint_bytes(tmp_path / "run", 2) == checkpoint_bytes(tmp_path / "other", 2)


def test_a_second_start_converts_nothing_and_a_changed_file_is_converted_again(
    config: TrainConfig, converted: list[str], model: Path, tmp_path: Path
) -> None:
    first = with_converted_data(config, ONE)
    assert Path(first.train_data).name == "chats.jsonl_model_60"
    os.utime(config.train_data)  # a copy has other times, and the same contents
    assert with_converted_data(config, ONE) == first and converted == ["chats.jsonl"]
    old = rows(Path(first.train_data))
    write_chats(Path(config.train_data), CHATS[:5])
    assert with_converted_data(config, ONE) == first and len(converted) == 2
    assert rows(Path(first.train_data)) != old
    other = dataclasses.replace(config, max_len=61)
    assert with_converted_data(other, ONE).train_data != first.train_data
    same_name = Path(shutil.copytree(model, tmp_path / "elsewhere" / "model"))
    write_tokenizer(same_name, 30)
    third = dataclasses.replace(config, model=str(same_name))
    assert with_converted_data(third, ONE) == dataclasses.replace(
        third, train_data=first.train_data
    )
    assert len(converted) == 4
    next(Path(first.train_data).glob("*.parquet")).unlink()
    with_converted_data(third, ONE)
    assert len(converted) == 5, "rows that are not whole are made again"


def test_a_file_that_goes_back_to_what_it_was_after_a_failure_is_converted_again(
    config: TrainConfig, converted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of the file between are there then, under the old file's record if that stayed."""
    folder = Path(with_converted_data(config, ONE).train_data)
    good = rows(folder)
    write_chats(Path(config.train_data), CHATS[:5])
    with monkeypatch.context() as patch:
        patch.setattr(
            raw_data, "_write_record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            with_converted_data(config, ONE)
    assert rows(folder) != good
    write_chats(Path(config.train_data))
    with_converted_data(config, ONE)
    assert rows(folder) == good and len(converted) == 3


def test_a_mixture_of_raw_files_and_folders_by_look(
    config: TrainConfig, tmp_path: Path, converted: list[str]
) -> None:
    packed = tmp_path / "in" / "more.jsonl.gz"
    packed.write_bytes(gzip.compress(Path(config.train_data).read_bytes()))
    table = tmp_path / "in" / "more.parquet"
    pq.write_table(pa.table({"messages": [one["messages"] for one in CHATS]}), table)
    ids = by_hand(config, tmp_path / "ids")
    text = tmp_path / "held" / "text.txt"
    text.parent.mkdir()
    text.write_text("one\n\ntwo words\n")
    mixed = dataclasses.replace(
        config,
        train_data=f"{packed}:0.5,{ids}:0.25,{table}:0.25",
        eval_data=str(text),
        cache_dir=str(tmp_path / "cache"),
    )
    found = with_converted_data(mixed, ONE)
    parts = [part.rpartition(":") for part in found.train_data.split(",")]
    assert [weight for _, _, weight in parts] == ["1/2", "1/4", "1/4"] and parts[1][0] == str(ids)
    assert converted == ["more.jsonl.gz", "more.parquet", "text.txt"]
    assert all(Path(part[0]).parent == tmp_path / "cache" for part in (parts[0], parts[2]))
    hand = by_hand(config, tmp_path / "by_hand", str(text), "pretrain")
    assert rows(Path(found.eval_data)) == rows(hand) != {}
    assert not list((tmp_path / "in").glob("*_60")), "nothing beside the files"
    alone(mixed)
    assert len(losses(tmp_path / "run")) == 2


def stuck_conversion(config: TrainConfig, marker: Path) -> None:
    """Hangs for ever in the middle of a conversion."""

    def hang(*_: Any) -> None:
        marker.touch()
        time.sleep(600)

    raw_file.convert_raw = hang
    with_converted_data(config, ONE)


def test_when_the_converter_is_killed_another_process_takes_the_lock(
    config: TrainConfig,
    tmp_path: Path,
    converted: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(raw_data, "SHOWN_EVERY", 0.2)
    child = os.fork()
    if child == 0:
        try:
            stuck_conversion(config, tmp_path / "stuck")
        finally:
            os._exit(1)
    try:
        while not (tmp_path / "stuck").exists():
            assert os.waitpid(child, os.WNOHANG) == (0, 0)
            time.sleep(0.05)
        done: list[TrainConfig] = []
        waits = threading.Event()
        look = raw_data.time.sleep

        def seen(seconds: float) -> None:
            waits.set()
            look(seconds)

        monkeypatch.setattr(raw_data.time, "sleep", seen)

        def kill() -> None:
            waits.wait()
            look(1.0)
            assert not converted and not done
            os.kill(child, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        done.append(with_converted_data(config, ONE))
        killer.join()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert converted == ["chats.jsonl"] and rows(Path(done[0].train_data))
    assert "waiting for another process that converts" in capfd.readouterr().err


def test_a_folder_that_cannot_be_written_asks_for_the_flag_and_serves_what_is_there(
    config: TrainConfig, converted: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(ValueError, match=r"--train_data .* cannot be written; .* --cache_dir"):
            with_converted_data(config, ONE)
    first = with_converted_data(config, ONE)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        assert with_converted_data(config, ONE) == first and len(converted) == 1
        Path(config.train_data).write_text(json.dumps(CHATS[0]))
        with pytest.raises(ValueError, match="--cache_dir"):
            with_converted_data(config, ONE)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"a": 1}\n', r'found no such record: \{"a": 1\}'),
        ("a.jsonl", '{"messages": [], "text": "a"}\n', 'found both a chat and a "text"'),
        ("a.jsonl", '[7, {"user": "a"}]\n', "an RL prompt, which has no answer"),
        ("a.jsonl", "\n", "the file is empty"),
        ("a.jsonl", "{", "a.jsonl:1: malformed JSON"),
        (
            "a.jsonl",
            '{"messages": 3}\n',
            "a.jsonl:1: not a dialogue: .*with python -m jllm.raw2ids",
        ),
        ("a.csv", "a", "expected \\*.jsonl"),
        ("gone.jsonl", None, "--train_data .*gone.jsonl: no such file"),
    ],
)
def test_files_that_cannot_be_converted_are_named(
    config: TrainConfig, tmp_path: Path, name: str, content: str | None, said: str
) -> None:
    path = tmp_path / "bad" / name
    path.parent.mkdir()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=said):
        with_converted_data(dataclasses.replace(config, train_data=str(path)), ONE)


def test_flags_of_raw_data_mean_nothing_beside_token_ids(
    config: TrainConfig, tmp_path: Path
) -> None:
    ids = dataclasses.replace(config, train_data=str(by_hand(config, tmp_path / "ids")))
    with pytest.raises(ValueError, match="--max_len is for raw data"):
        with_converted_data(ids, ONE)
    plain = dataclasses.replace(ids, max_len=2049)
    assert with_converted_data(plain, ONE) == plain
    with pytest.raises(ValueError, match="--cache_dir is for raw data"):
        with_converted_data(dataclasses.replace(plain, cache_dir="x"), ONE)
