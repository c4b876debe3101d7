"""What cannot be shuffled, or was not shuffled right, is an error, and nothing appears."""

import dataclasses
import errno
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jllm import shuffle_partition
from jllm.data.runtime.memory import plan_memory
from jllm.data.tools.shuffle import shuffle as shuffle_module
from jllm.data.tools.shuffle.config import ShuffleConfig, check_shuffle_config
from jllm.data.writing.batch_writer import GroupWriter
from jllm.shuffle_datasets import main
from parquet_helpers import write_folder
from shuffle_helpers import METADATA, bytes_of, run_shuffle, write_dataset


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer_digest": "u"}, "differ in tokenizer_digest: 'u' and 't'"),
        ({"max_len": 34}, "differ in max_len: 34 and 33"),
        ({"chat_template_digest": "d"}, "differ in chat_template_digest"),
        ({"special_tokens_digest": "z"}, "differ in special_tokens_digest"),
        ({"document_end_id": 2}, "differ in document_end_id: 2 and 1"),
    ],
)
def test_data_sets_of_two_kinds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict, message: str
) -> None:
    one = write_dataset(tmp_path / "one", 9)
    two = write_dataset(tmp_path / "two", 9, metadata=dataclasses.replace(METADATA, **change))
    with pytest.raises(ValueError, match=f"two and .*one {message}"):
        run_shuffle(monkeypatch, f"{one},{two}", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_text_and_chats_other_columns_and_unknown_statements_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chats = write_dataset(tmp_path / "chats", 9)
    rows = [{"input_ids": [1, 2], "cu_seqlens": [0, 1]}]
    text = write_folder(tmp_path / "text", {"a.parquet": rows}, max_len=33)
    with pytest.raises(ValueError, match="differ in kind: 'pretrain' and 'ft'"):
        run_shuffle(monkeypatch, f"{chats},{text}", tmp_path / "out")
    rows = [{"input_ids": [1, 2], "cu_seqlens": [0, 1], "extra": [4]}]
    more = write_folder(tmp_path / "more", {"a.parquet": rows}, max_len=33)
    with pytest.raises(ValueError, match=r"more/a.parquet and .*text/a.parquet differ in columns"):
        run_shuffle(monkeypatch, f"{text},{more}", tmp_path / "out")
    other = write_dataset(tmp_path / "other", 9)
    info = json.loads((other / "data_info.json").read_text()) | {"colour": "red"}
    (other / "data_info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match="differ in colour: 'red' and None"):
        run_shuffle(monkeypatch, f"{chats},{other}", tmp_path / "out")


def test_damaged_rows_are_refused_by_file_and_row_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_dataset(tmp_path / "ids", 600)
    path = sorted(folder.glob("*.parquet"))[1]
    good = path.read_bytes()
    path.write_bytes(good[:2000] + bytes([good[2000] ^ 8]) + good[2001:])
    for processes in (1, 2):
        with pytest.raises(ValueError, match=f"^{path}, row group 0: "):
            run_shuffle(monkeypatch, folder, tmp_path / "out", processes=processes)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", ["lost", "doubled", "changed"])
def test_a_row_lost_doubled_or_changed_on_the_way_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    folder, write, done = write_dataset(tmp_path / "ids", 600), GroupWriter.write, []

    def wrong(self, rows):
        if not done:
            done.append(1)
            chosen = list(range(rows.num_rows))
            if change == "lost":
                chosen = chosen[1:]
            elif change == "doubled":
                chosen[0] = 1
            else:
                chosen.append(0)
            rows = rows.take(chosen)
        write(self, rows)

    monkeypatch.setattr(GroupWriter, "write", wrong)
    with pytest.raises(ValueError, match="600 rows were read and .* nothing was published"):
        run_shuffle(monkeypatch, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_block_that_does_not_get_to_the_disk_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    """The system tells of it once: here the second block, not when all is published."""

    def failing(path: Path) -> None:
        if "00001.zstd" in path.name:
            raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(shuffle_module, "sync", failing)
    dataset = write_dataset(tmp_path / "ids", 40)
    with pytest.raises(OSError, match=r"Input/output error.*00001\.zstd"):
        run_shuffle(monkeypatch, dataset, tmp_path / "out", processes=processes)
    assert not list((tmp_path / "out").glob("*.*"))


@pytest.mark.parametrize("change", ["ids", "rows"])
def test_an_encoder_that_writes_other_rows_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    folder, write = write_dataset(tmp_path / "ids", 600), pq.ParquetWriter.write_batch

    def wrong(self, rows, row_group_size):
        order = list(range(rows.num_rows))[::-1] if change == "ids" else [0]
        write(self, rows.take(order), row_group_size=row_group_size)

    monkeypatch.setattr(pq.ParquetWriter, "write_batch", wrong)
    message = "row group 0: digest is" if change == "ids" else "rows were written for"
    with pytest.raises(ValueError, match=message):
        run_shuffle(monkeypatch, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_output_that_holds_something_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = write_dataset(tmp_path / "ids", 50), tmp_path / "out"
    run_shuffle(monkeypatch, folder, out, seed=1)
    (out / "notes.txt").write_text("mine")
    before = bytes_of(out)
    with pytest.raises(ValueError, match="holds converted data already"):
        run_shuffle(monkeypatch, folder, out, seed=2)
    assert bytes_of(out) == before
    run_shuffle(monkeypatch, folder, out, seed=2, clean=True)
    after = bytes_of(out)
    assert after.keys() == before.keys() and after != before and after["notes.txt"] == b"mine"


def test_a_folder_with_a_comma_in_its_name_is_one_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_dataset(tmp_path / "a,b", 50)
    assert run_shuffle(monkeypatch, folder, tmp_path / "out").rows == 50
    with pytest.raises(ValueError, match="--output .*info.json: is a file; give a folder"):
        run_shuffle(monkeypatch, folder, tmp_path / "out" / "a,b_info.json")


def test_a_disk_that_is_too_small_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_dataset(tmp_path / "ids", 50)
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ValueError, match="--output .*out: needs about 0.0 GB, 0.0 GB are free"):
        run_shuffle(monkeypatch, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_memory_is_shared_by_as_many_processes_as_it_suffices_for() -> None:
    gib = 1 << 30
    assert plan_memory(64 * gib, 8, gib // 10, "--mem_gb").buffer_bytes == gib
    for limit in (gib // 4, gib // 2, gib, 4 * gib):
        plan = plan_memory(limit, 16, gib // 10, "--mem_gb")
        assert plan.processes * plan.buffer_bytes * 3 + gib // 10 <= limit
    assert plan_memory(gib // 4, 16, gib // 10, "--mem_gb").processes < 16
    with pytest.raises(ValueError, match="--mem_gb: 0.10 GiB is too little; expected 0.17"):
        plan_memory(gib // 10, 1, gib // 10, "--mem_gb")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"datasets": ","}, "--datasets: expected a folder"),
        ({"output": ""}, "--output: expected a folder"),
        ({"num_block": 0}, "--num_block 0"),
        ({"cores": 0}, "--cores 0"),
        ({"mem_rate": 1.5}, "--mem_rate 1.5"),
        ({"mem_gb": 0}, "--mem_gb 0"),
        ({"output": "in/out"}, "--output in/out is in /.*/in, which is to be shuffled"),
        ({"datasets": "s3://bucket/a"}, "--datasets s3://bucket/a: only local folders"),
        ({"datasets": "a/_in"}, "--datasets a/_in: outputs would be called _in-…, which readers"),
        ({"datasets": "a,b", "output": ".out"}, "--output .out: outputs would be called .out-…"),
        ({"datasets": "a" * 201}, "a: outputs would begin with 201 bytes"),
        ({"datasets": "in,in/a"}, "is given twice"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_shuffle_config(ShuffleConfig(**{"datasets": "in", "output": "out", **settings}))


def test_the_command_shuffles_and_its_errors_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = write_dataset(tmp_path / "ids", 50), tmp_path / "out"
    flags = ["-d", str(folder), "-o", str(out), "--cores", "1"]
    assert main([*flags, "--num_partition", "3"]) == 0
    assert "50 rows in 3 files" in capsys.readouterr().out and len(list(out.iterdir())) == 4
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --output") and error.count("\n") == 1
    with pytest.raises(SystemExit):
        shuffle_partition.main(["--help"])  # the same by its older name
    text = capsys.readouterr().out
    flags = "-d --datasets -o --output -n --num_block --cores --mem_gb --mem_rate --seed"
    for flag in flags.split():
        assert flag in text
