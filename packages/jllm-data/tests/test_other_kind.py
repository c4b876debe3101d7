"""Records given with the wrong --type: the error says what they are and which --type they need."""

import json
from pathlib import Path

import pytest

from jllm.data.format.record_counts import Problem
from jllm.data.format.schema import Kind
from jllm.data.records.parse import Chat, Prompt, Text, read_records
from jllm.data.records.splits import InputSplit
from jllm.raw2ids import main
from tokenizer_helpers import save_toy_tokenizer

TURNS = [{"user": "hi"}, {"assistant": "ho"}]
MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
CHATS = [TURNS, {"messages": MESSAGES}, {"conversations": [{"from": "human", "value": "hi"}]}]
TEXT = {"text": "some text"}
PROMPT = [7, {"user": "hi"}]


def read(value: object, kind: Kind) -> object:
    data = json.dumps(value).encode()
    split = InputSplit(
        path=Path("a.jsonl"), layout="lines", start=0, stop=len(data), first_line=1, taken=0
    )
    (record,) = read_records(split, data, kind)
    return record


@pytest.mark.parametrize(
    ("value", "given", "needed"),
    [
        *((chat, "pretrain", "a chat") for chat in CHATS),
        (PROMPT, "pretrain", "an RL prompt"),
        (TEXT, "ft", "a text"),
        (PROMPT, "ft", "an RL prompt"),
        (TEXT, "rl", "a text"),
    ],
)
def test_a_record_of_another_kind_is_told_by_its_look(
    value: object, given: Kind, needed: str
) -> None:
    problem = read(value, given)
    assert isinstance(problem, Problem) and problem.fatal and problem.reason == "another kind"
    kinds = {"a chat": "ft", "a text": "pretrain", "an RL prompt": "rl"}
    assert problem.detail.startswith(f"{needed} among records of --type {given}, which expects ")
    assert problem.detail.endswith(f"convert this file with --type {kinds[needed]}")


@pytest.mark.parametrize(
    ("value", "kind", "made"),
    [
        (TURNS, "ft", Chat),
        ({"messages": MESSAGES}, "ft", Chat),
        (TEXT, "pretrain", Text),
        ({"text": "a text", "messages": []}, "pretrain", Text),
        (PROMPT, "rl", Prompt),
        ({"id": 7, "messages": MESSAGES[:1]}, "rl", Prompt),
    ],
)
def test_what_is_of_the_kind_is_read(value: object, kind: Kind, made: type) -> None:
    assert isinstance(read(value, kind), made)


def test_chats_given_as_text_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(TURNS) + "\n")
    tokenizer = str(save_toy_tokenizer(tmp_path / "tokenizer"))
    flags = ["--tokenizer", tokenizer, "-i", str(tmp_path / "a.jsonl"), "-o", str(tmp_path / "ids")]
    assert main([*flags, "-t", "pretrain", "--cores", "1"]) == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error: ")]
    assert "a.jsonl:1: another kind: a chat among records of --type pretrain" in line
    assert ": convert this file with --type ft (" in line
