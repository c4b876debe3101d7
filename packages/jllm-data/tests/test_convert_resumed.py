"""What a stopped conversion keeps, what the next one uses of it, and what it tells."""

import errno
import gzip
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from convert_helpers import Notes, snapshot, write_jsonl
from jllm.data.convert import resume, setup
from jllm.data.convert.encode_split import EncodedSplit
from jllm.data.convert.resume import load_resume_state
from jllm.data.records.splits import InputSplit
from jllm.data.runtime.state_file import load_state
from jllm.data.tools.repartition.config import RepartitionConfig
from jllm.data.tools.repartition.repartition import repartition
from jllm.data.writing.staging import STAGING, STATE
from resume_helpers import CASES, SMALL_STEPS, convert_it, write_input
from shuffle_helpers import run_shuffle, write_dataset
from tokenizer_helpers import save_toy_tokenizer

CHATS = CASES["chats"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_input(tmp_path / "in", "chats")


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in SMALL_STEPS:
        monkeypatch.setattr(module, name, value)


class StopsAfter(Notes):
    """Stops a conversion like a signal after some units; counts them."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.left, self.units, self.taken = units, 0, 0

    def begin(self, sources: Any, taken: int) -> None:
        self.total, self.taken = sum(source.size or 0 for source in sources), taken

    def advance(self, unit: InputSplit, result: EncodedSplit) -> None:
        self.units, self.taken = self.units + 1, self.taken + unit.taken
        if self.units == self.left:
            raise KeyboardInterrupt


def stop_in_the_middle(tokenizer: Path, source: Path, out: Path, **settings: Any) -> StopsAfter:
    reporter = StopsAfter(20)
    with pytest.raises(KeyboardInterrupt):
        convert_it(tokenizer, source, out, reporter, **(CHATS | settings))
    return reporter


@pytest.mark.parametrize(("partition", "once_more"), [(None, 8), (50, 4)])
def test_a_stopped_conversion_says_what_it_keeps_and_repeats_one_file_or_partition(
    tmp_path: Path, tokenizer: Path, source: Path, partition: int | None, once_more: int
) -> None:
    """`once_more`: units that were done before the stop and are done again, at most."""
    settings = CHATS | {"num_lines_per_partition": partition}
    whole, out = StopsAfter(-1), tmp_path / "out"
    convert_it(tokenizer, source, tmp_path / "whole", whole, **settings)
    first = stop_in_the_middle(tokenizer, source, out, **settings)
    second = StopsAfter(-1)
    files = list((out / STAGING).glob("*.parquet"))
    assert first.notes == [
        f"finished files kept in {out / STAGING}: {len(files)}; the same command continues, any "
        "other begins anew"
    ]
    convert_it(tokenizer, source, out, second, **settings)
    assert second.notes == [
        f"continuing the conversion that was stopped in {out}; finished files, checked and kept: "
        f"{len(files)}"
    ]
    assert snapshot(out) == snapshot(tmp_path / "whole")
    assert whole.units - 20 <= second.units <= whole.units - 20 + once_more
    assert second.taken == second.total == whole.taken


@pytest.mark.parametrize("at", [8, 15])
def test_rl_prompts_in_compressed_files_go_on_too(tmp_path: Path, tokenizer: Path, at: int) -> None:
    prompts = "".join(f'[{n}, {{"user": "{"how " * (n % 9)}{n}?"}}]\n' for n in range(900))
    source, reporter = tmp_path / "prompts.jsonl.gz", StopsAfter(at)
    source.write_bytes(gzip.compress(prompts.encode()))
    settings = {"type": "rl", "max_len": 90, "num_lines_per_partition": 100}
    with pytest.raises(KeyboardInterrupt):
        convert_it(tokenizer, source, tmp_path / "out", reporter, **settings)
    state = load_state(tmp_path / "out" / STAGING / STATE)
    assert state is not None and 0 < state["open"]["splits"] <= at
    assert (
        "checked and kept" in convert_it(tokenizer, source, tmp_path / "out", **settings).notes[0]
    )
    convert_it(tokenizer, source, tmp_path / "whole", **settings)
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")


@pytest.mark.parametrize("at", [0, 7, -1])
def test_a_full_disk_keeps_what_is_finished(
    tmp_path: Path, tokenizer: Path, source: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    write, calls, fails_at, out = pq.ParquetWriter.write_table, [0], -1, tmp_path / "out"

    def full(self: pq.ParquetWriter, table: Any, row_group_size: int) -> None:
        calls[0] += 1
        if calls[0] - 1 == fails_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, table, row_group_size=row_group_size)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    convert_it(tokenizer, source, tmp_path / "whole", **CHATS)
    fails_at, calls[0] = at % calls[0], 0
    with pytest.raises(OSError, match="No space left"):
        convert_it(tokenizer, source, out, **CHATS)
    if at >= 0:  # in the first input file
        assert snapshot(out) == {}
        return
    listed = {file["name"] for file in take_up_log(out).files}
    assert {path.name for path in (out / STAGING).glob("*.parquet")} == listed != set()
    assert "checked and kept" in convert_it(tokenizer, source, out, **CHATS).notes[0]
    assert snapshot(out) == snapshot(tmp_path / "whole")


def take_up_log(out: Path) -> resume.ResumeState:
    saved = load_state(out / STAGING / STATE)
    assert saved is not None
    return load_resume_state(out / STAGING, saved["key"], lambda note: None)


def touch(source: Path, out: Path) -> None:
    os.utime(source / "b.jsonl", ns=(1, 1))


def another(source: Path, out: Path) -> None:
    """Another text of the same size and time, as archives restore them."""
    file, text = source / "b.jsonl", (source / "b.jsonl").read_text()
    times = file.stat()
    file.write_text(text.replace("12", "34"))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def damage(source: Path, out: Path) -> None:
    file = min((out / STAGING).glob("*.parquet"))
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)


def cut(source: Path, out: Path) -> None:
    min((out / STAGING).glob("*.parquet")).write_bytes(b"")


def nothing(source: Path, out: Path) -> None:
    pass


FIRST = "a-00000-chunk-00.zstd.parquet"


@pytest.mark.parametrize(
    ("change", "settings", "why"),
    [
        (nothing, {"max_len": 130}, "--max_len was 120, is 130"),
        (nothing, {"compress": "gzip"}, "--compress was zstd, is gzip"),
        (touch, {}, "the input file b.jsonl is another"),
        (another, {}, "the input file b.jsonl is another"),
        (damage, {}, f"{FIRST} is damaged"),
        (cut, {}, f"{FIRST} is not there as it was written"),
    ],
)
def test_it_begins_anew_and_says_why_when_anything_is_different(
    tmp_path: Path, tokenizer: Path, source: Path, change: Any, settings: Any, why: str
) -> None:
    out = tmp_path / "out"
    stop_in_the_middle(tokenizer, source, out)
    change(source, out)
    settings = CHATS | settings
    notes = convert_it(tokenizer, source, out, **settings).notes
    assert notes == [f"the conversion that was stopped in {out} is begun anew: {why}"]
    convert_it(tokenizer, source, tmp_path / "whole", **settings)
    assert snapshot(out) == snapshot(tmp_path / "whole")


def test_a_damaged_state_is_not_used(tmp_path: Path, tokenizer: Path, source: Path) -> None:
    out = tmp_path / "out"
    stop_in_the_middle(tokenizer, source, out)
    state = out / STAGING / STATE
    content = bytearray(state.read_bytes())
    content[-9] ^= 1
    state.write_bytes(content)
    assert convert_it(tokenizer, source, out, **CHATS).notes == []


def test_a_bad_record_stops_it_and_with_skip_it_goes_on_from_there(
    tmp_path: Path, tokenizer: Path, source: Path
) -> None:
    with (source / "b.jsonl").open("a") as file:
        file.write("{\n")
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="b.jsonl:201: malformed JSON"):
        convert_it(tokenizer, source, out, **CHATS)
    notes = convert_it(tokenizer, source, out, on_error="skip", **CHATS).notes
    assert "checked and kept" in notes[0]
    convert_it(tokenizer, source, tmp_path / "whole", on_error="skip", **CHATS)
    assert snapshot(out) == snapshot(tmp_path / "whole")


def test_what_was_skipped_is_not_taken_where_it_stops_the_conversion(
    tmp_path: Path, tokenizer: Path, source: Path
) -> None:
    lines = (source / "a.jsonl").read_text().splitlines(keepends=True)
    (source / "a.jsonl").write_text("".join([*lines[:3], "{\n", *lines[3:]]))
    stop_in_the_middle(tokenizer, source, tmp_path / "out", on_error="skip")
    notes = Notes()
    with pytest.raises(ValueError, match="a.jsonl:4: malformed JSON"):
        convert_it(tokenizer, source, tmp_path / "out", notes, **CHATS)
    assert "begun anew: --on_error was skip, is stop" in notes.notes[0]


def test_other_code_begins_anew(
    tmp_path: Path, tokenizer: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_in_the_middle(tokenizer, source, tmp_path / "out")
    monkeypatch.setattr(setup, "code_digest", lambda: "of another checkout")
    notes = convert_it(tokenizer, source, tmp_path / "out", **CHATS).notes
    assert "begun anew: the code of jllm.data is another" in notes[0]


def test_a_shuffle_or_repartition_leaves_a_stopped_conversion_alone(
    tmp_path: Path, tokenizer: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    stop_in_the_middle(tokenizer, source, out)
    before = snapshot(out)
    with pytest.raises(ValueError, match=f"out: a conversion was stopped there; .*{STAGING}"):
        run_shuffle(monkeypatch, write_dataset(tmp_path / "data", 9), out)
    with pytest.raises(ValueError, match="a conversion was stopped there"):
        repartition(RepartitionConfig(dataset=str(out), num_partition=2))
    assert snapshot(out) == before


def test_clean_replaces_at_the_end_also_when_stopped_between(
    tmp_path: Path, tokenizer: Path, source: Path
) -> None:
    """Until then the data that was there stays."""
    out = tmp_path / "out"
    old = write_jsonl(tmp_path / "old.jsonl", [[{"user": "a"}, {"assistant": "b"}]])
    convert_it(tokenizer, old, out, **CHATS)
    before = snapshot(out)
    stop_in_the_middle(tokenizer, source, out, clean=True)
    assert {n: c for n, c in snapshot(out).items() if STAGING not in n} == before
    with pytest.raises(ValueError, match="holds converted data already"):
        convert_it(tokenizer, source, out, **CHATS)
    assert "checked and kept" in convert_it(tokenizer, source, out, clean=True, **CHATS).notes[0]
    convert_it(tokenizer, source, tmp_path / "whole", **CHATS)
    assert snapshot(out) == snapshot(tmp_path / "whole")


def test_standard_input_is_not_continued(tmp_path: Path) -> None:
    """Nothing is kept of input that comes once."""
    log = load_resume_state(tmp_path, {}, lambda note: None)
    log.finish("stdin.jsonl", {"files": [{"name": "a"}], "taken": 5})
    assert not log.due and not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", ["rewritten in place", "appended to"])
def test_input_that_changes_while_it_is_converted_is_refused(
    tmp_path: Path, tokenizer: Path, source: Path, change: str
) -> None:
    text = (source / "b.jsonl").read_text()
    changed = text.replace("12", "34") if change == "rewritten in place" else text + text

    class Changes(Notes):
        def advance(self, unit: InputSplit, result: EncodedSplit) -> None:
            (source / "b.jsonl").write_text(changed)

    with pytest.raises(ValueError, match="b.jsonl: was changed while it was converted"):
        convert_it(tokenizer, source, tmp_path / "out", Changes(), **CHATS)
    assert not (tmp_path / "out").exists()
    convert_it(tokenizer, source, tmp_path / "out", **CHATS)
    convert_it(tokenizer, source, tmp_path / "new", **CHATS)
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "new")
