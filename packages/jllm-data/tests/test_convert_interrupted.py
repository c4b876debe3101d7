"""Killed, stopped, or out of disk: nothing half-written under a final name, and no traces."""

import contextlib
import fcntl
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from convert_helpers import run_convert, snapshot, write_jsonl
from jllm.data.reading.dataset import open_dataset
from jllm.data.runtime.state_file import save_state
from jllm.data.writing.staging import PLAN, STAGING, publish, stage, written_by_jllm
from tokenizer_helpers import save_toy_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 40 MB of text, some seconds of work."""
    rng = random.Random(0)
    texts = [{"text": "".join(rng.choices("abc defgh\n", k=2000))} for _ in range(500)]
    path = write_jsonl(tmp_path_factory.mktemp("source") / "data.jsonl", texts)
    path.write_text(path.read_text() * 40)
    return path


def start(tokenizer: Path, source: Path, output: Path) -> subprocess.Popen[bytes]:
    """Start a conversion in another process and wait until it writes."""
    command = [
        sys.executable,
        "-m",
        "jllm.raw2ids",
        "--tokenizer",
        str(tokenizer),
        "-i",
        str(source),
    ]
    command += ["-o", str(output), "-t", "pretrain", "--max_len", "257", "--cores", "2", "--stack"]
    command += ["--fast", "off"]  # slow enough to be caught on a busy machine
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(command, env=environment)
    while process.poll() is None and not list((output / STAGING).glob("*.parquet")):
        time.sleep(0.02)
    assert process.poll() is None, "the conversion was too quick to be interrupted"
    return process


def children_of(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(child) for child in children.split()]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_conversion_that_is_stopped_leaves_nothing(
    tmp_path: Path, tokenizer: Path, source: Path, sent: signal.Signals
) -> None:
    process = start(tokenizer, source, tmp_path / "out")
    process.send_signal(sent)
    assert process.wait(120) == {signal.SIGINT: 130, signal.SIGTERM: 143}[sent]
    assert not (tmp_path / "out").exists()


def test_a_killed_conversion_shows_no_file_and_the_next_one_cleans_up(
    tmp_path: Path, tokenizer: Path, source: Path
) -> None:
    out = tmp_path / "out"
    process = start(tokenizer, source, out)
    workers = children_of(process.pid)
    process.kill()
    process.wait(120)
    assert [path.name for path in out.iterdir()] == [STAGING]
    deadline = time.monotonic() + 120
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "worker processes outlive the command"
        time.sleep(0.05)
    small = write_jsonl(tmp_path / "data.jsonl", [{"text": "a b c"}])
    run_convert(tokenizer, small, out, type="pretrain")
    assert len(list(out.iterdir())) == 3 and open_dataset(out).num_rows == 1


def test_a_failed_conversion_keeps_the_data_that_was_there(tmp_path: Path, tokenizer: Path) -> None:
    source = write_jsonl(tmp_path / "data.jsonl", [{"text": "a b c"}])
    run_convert(tokenizer, source, tmp_path / "out", type="pretrain")
    before = snapshot(tmp_path / "out")
    source.write_text('{"text": "d"}\n{"text"\n')
    with pytest.raises(ValueError, match="malformed"):
        run_convert(tokenizer, source, tmp_path / "out", type="pretrain", clean=True)
    assert snapshot(tmp_path / "out") == before


def test_a_full_disk_is_an_error_that_leaves_nothing(
    tmp_path: Path, tokenizer: Path, source: Path
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="--output .*out: File too large; make room"):
            run_convert(tokenizer, source, tmp_path / "out", type="pretrain")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "out").exists()


def test_clean_replaces_what_jllm_wrote_and_nothing_else(tmp_path: Path, tokenizer: Path) -> None:
    out = tmp_path / "out"
    first = write_jsonl(tmp_path / "first.jsonl", [{"text": f"a {n}"} for n in range(9)])
    second = write_jsonl(tmp_path / "second.jsonl", [{"text": "b"}])
    run_convert(tokenizer, first, out, type="pretrain", num_lines_per_partition=3)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds converted data already"):
        run_convert(tokenizer, second, out, type="pretrain")
    run_convert(tokenizer, second, out, type="pretrain", clean=True)
    kept = {"notes.txt", "second-00000-chunk-00.zstd.parquet", "second_info.json"}
    assert {path.name for path in out.iterdir()} == {*kept, "tokenizer"}


def test_two_conversions_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with stage(tmp_path / "out"):
        second = stage(tmp_path / "out")
        with pytest.raises(ValueError, match="another conversion"):
            second.__enter__()
    assert not (tmp_path / "out").exists()


def test_a_lock_that_was_removed_with_its_folder_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that ended removes the folder of a lock that the next one has open already."""
    out = tmp_path / "out"
    monkeypatch.setattr(fcntl, "flock", lambda *_: shutil.rmtree(out / STAGING))
    with pytest.raises(ValueError, match="give the command again"), stage(out):
        pass


def test_a_stop_between_two_renames_is_never_taken_for_a_data_set(
    tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publishing is stopped before each of its renames and removals in turn."""
    old = write_jsonl(tmp_path / "old.jsonl", [{"text": f"old {n}"} for n in range(9)])
    new = write_jsonl(tmp_path / "new.jsonl", [{"text": f"new {n}"} for n in range(12)])
    settings = {"type": "pretrain", "num_lines_per_partition": 3}
    run_convert(tokenizer, old, tmp_path / "kept", **settings)
    run_convert(tokenizer, new, tmp_path / "staged", **settings)
    rows = {name: open_dataset(tmp_path / name).num_rows for name in ("kept", "staged")}
    outcomes = []
    for steps in range(18):
        folder, staged = tmp_path / f"out{steps}", tmp_path / f"staged{steps}"
        shutil.copytree(tmp_path / "kept", folder)
        shutil.copytree(tmp_path / "staged", staged)
        left = [steps]

        def count(method, left=left):
            def step(self, *arguments, **options):
                if not left[0]:
                    raise InterruptedError
                left[0] -= 1
                return method(self, *arguments, **options)

            return step

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", count(Path.rename))
            patch.setattr(Path, "unlink", count(Path.unlink))
            with contextlib.suppress(InterruptedError):
                publish(staged, folder, clean=True)
        try:
            outcomes.append(open_dataset(folder).num_rows)
        except ValueError:
            outcomes.append(None)
    assert outcomes == [rows["kept"]] + [None] * (len(outcomes) - 2) + [rows["staged"]]
    assert len(written_by_jllm(folder)) == 9


def test_publishing_that_goes_on_writes_over_nothing(tmp_path: Path) -> None:
    staged = tmp_path / "out" / STAGING
    staged.mkdir(parents=True)
    save_state(staged / PLAN, {"old": [], "new": ["a.parquet"]})
    (staged / "a.parquet").write_text("new")
    mine = tmp_path / "out" / "a.parquet"
    mine.write_text("mine")
    with pytest.raises(ValueError, match="a.parquet: is there meanwhile"), stage(tmp_path / "out"):
        pass
    assert mine.read_text() == "mine" and (staged / "a.parquet").read_text() == "new"


def test_a_plan_that_names_files_elsewhere_is_refused(tmp_path: Path) -> None:
    """Somebody else's folder may hold anything."""
    mine = tmp_path / "mine"
    mine.write_text("mine")
    for name in ("../mine", str(mine), "/mine", "..", "tokenizer/.."):
        staged = tmp_path / "out" / STAGING
        staged.mkdir(parents=True, exist_ok=True)
        save_state(staged / PLAN, {"old": [name], "new": []})
        with pytest.raises(ValueError, match="which is not jllm's"), stage(tmp_path / "out"):
            pass
    assert mine.exists()
