"""A person sees the account: plain lines without a terminal, a bar with one."""

import re
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from jllm.data.convert.convert import ConvertedFile
from jllm.data.convert.count_records import count_result
from jllm.data.convert.encode_split import EncodedSplit
from jllm.data.convert.report import ConversionReport
from jllm.data.format.record_counts import Problem, RecordCounts
from jllm.data.packing.batches import DocumentBatch
from jllm.data.records.input_files import STDIN, Source
from jllm.data.records.splits import InputSplit
from jllm.data.runtime.progress import WorkProgress
from jllm.repartition import main

SOURCE = Source(
    path=Path("in/data.jsonl"), relative="data.jsonl", layout="lines", name="data", size=100
)
UNIT = InputSplit(path=SOURCE.path, layout="lines", start=0, stop=70, first_line=1, taken=50)
RESULT = EncodedSplit(
    documents=DocumentBatch(
        ids=np.zeros(0, np.int32), lengths=np.zeros(0, np.int64), records=np.zeros(0, np.int64)
    ),
    record=np.zeros(0, np.int64),
    read=1234,
    problems=(Problem(line=7, reason="malformed JSON", detail="[bold] stays", fatal=True),),
    unused=Counter(),
    truncated=Counter({"turns beyond max_len": 2}),
    tokens=5678,
    trained=99,
)


def shown(*, terminal: bool, name: str = "data.jsonl", output: str = "out", width: int = 80) -> str:
    out, source = StringIO(), replace(SOURCE, relative=name)
    account = RecordCounts()
    count_result(account, source, RESULT, stop=False)
    with WorkProgress(Console(file=out, force_terminal=terminal, width=width)) as progress:
        reporter = ConversionReport(progress)
        reporter.begin([SOURCE])
        reporter.advance(UNIT, RESULT)
        converted = ConvertedFile(
            source=source,
            account=account,
            rows=10,
            row_ids=995,
            max_len=100,
            files=(),
            max_num_blocks=9,
        )
        reporter.close([converted], output)
    return out.getvalue()


def test_plain_lines_say_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jllm.data.runtime.progress.PLAIN_SECONDS", 0)
    first, *rest = shown(terminal=False).splitlines()
    assert re.match(r"converting 50%  1,234 records  \S+ records/s  \S+ tokens/s  left 0:0", first)
    text = "\n".join(rest)
    for part in ("data.jsonl", "1,234", "1,233", "99.50%", "5,678"):
        assert part in text
    assert "note: data.jsonl: 1 dropped: malformed JSON" in text
    assert "note: data.jsonl: 2 truncated: turns beyond max_len" in text
    assert "note: data.jsonl:7: malformed JSON: [bold] stays" in text


def test_names_are_shown_as_they_are_and_cannot_steer_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(terminal=False, name="t[a] [/b]\x1b[2J.txt", output="o[red]x[/out]")
    assert "o[red]x[/out]: " in text and "t[a] [/b]⟨U+001B⟩[2J.txt" in text.replace("\n", "")
    assert "\x1b" not in text
    assert main(["-d", "[/d]\x1b[2J"]) == 2
    assert "--dataset [/d]⟨U+001B⟩[2J: not a folder" in capsys.readouterr().err


def test_a_terminal_with_room_for_it_shows_a_bar() -> None:
    assert "━" in shown(terminal=True, width=150)


def test_of_standard_input_the_bytes_are_shown_for_nobody_knows_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jllm.data.runtime.progress.PLAIN_SECONDS", 0)
    source = replace(SOURCE, path=STDIN, size=None, codec="gzip")
    for terminal, said in ((False, "converting 7 MB  1,234 records  "), (True, "7 MB")):
        out = StringIO()
        console = Console(file=out, force_terminal=terminal, width=120)
        with WorkProgress(console) as progress:
            reporter = ConversionReport(progress)
            reporter.begin([source])
            reporter.advance(replace(UNIT, stop=90_000_000, taken=7_000_000), RESULT)
        assert said in out.getvalue()
