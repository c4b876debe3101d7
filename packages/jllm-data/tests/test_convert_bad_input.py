"""Bad input: an error that names file and line and leaves nothing; or skipped and counted."""

import json
from pathlib import Path

import pytest

from convert_helpers import info_of, rows_of, run_convert
from jllm.data.convert.count_records import BadRecord
from jllm.data.reading.dataset import open_dataset
from tokenizer_helpers import save_toy_tokenizer, tokenizer_with

GOOD = b'[{"user": "a"}, {"assistant": "b"}]\n'
BAD_CHATS = {
    b'[{"user": "a"},\n': "malformed JSON",
    b'[{"user": "a", "user": "c"}, {"assistant": "b"}]\n': "malformed JSON",
    b"\xff\xfe\n": "invalid UTF-8",
    b"{}\n": "missing key",
    b"3\n": "not a dialogue",
    b'{"messages": {"role": "user"}}\n': "not a dialogue",
    b'{"messages": [{"role": "user"}]}\n': "missing key",
    b'{"tools": [1], "messages": []}\n': "not an object",
    b'{"messages": [{"content": "user"}]}\n': "missing key",
    b'["a", "b"]\n': "not a dialogue",
    b'[{"user": "a", "assistant": "b"}]\n': "not a dialogue",
    b'[{"user": ["a"]}, {"assistant": "b"}]\n': "not a string",
    b'[{"human": "a"}, {"assistant": "b"}]\n': "unknown role",
    b'[{"assistant": "b"}]\n': "assistant first",
    b'[{"system": "a"}, {"assistant": "b"}]\n': "assistant first",
    b'[{"user": "a"}]\n': "no answer",
    b"[]\n": "no answer",
    b'[{"user": "\\ud800"}, {"assistant": "b"}]\n': "invalid Unicode",
    b'{"messages": [{"role": "user", "content": "a", "tool_calls": [1]}]}\n': "unknown key",
    b'{"messages": [{"role": "user", "content": "a", "weight": 0}]}\n': "unknown key",
    b'{"messages": [{"role": "user", "content": "a", "train": false}]}\n': "unknown key",
    b'{"chat_template_kwargs": {"a": 1}, "messages": []}\n': "unknown key",
}
BAD_TEXTS = {
    b'{"text": "a"\n': "malformed JSON",
    b'{"txt": "a"}\n': "missing key",
    b'"a"\n': "not an object",
    b'{"text": null}\n': "not a string",
    b'{"text": "\xe9"}\n': "invalid UTF-8",
}
CASES = [("ft", GOOD, line, why) for line, why in BAD_CHATS.items()]
CASES += [("pretrain", b'{"text": "good"}\n', line, why) for line, why in BAD_TEXTS.items()]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.mark.parametrize(("kind", "good", "bad", "reason"), CASES)
def test_a_bad_line_stops_with_its_place_or_is_skipped_counted_and_listed(
    tmp_path: Path, tokenizer: Path, kind: str, good: bytes, bad: bytes, reason: str
) -> None:
    source, out = tmp_path / "data.jsonl", tmp_path / "out"
    source.write_bytes(good * 2 + b"\n" + bad + good)
    with pytest.raises(BadRecord) as caught:
        run_convert(tokenizer, source, out, type=kind, max_len=99)
    assert str(caught.value).startswith(f"{source}:4: {reason}: ")
    assert not out.exists()
    run_convert(tokenizer, source, out, type=kind, max_len=99, on_error="skip")
    records = info_of(out)["records"]
    assert (records["read"], records["written"], records["dropped"]) == (4, 3, {reason: 1})
    (listed,) = records["dropped_list"]
    assert (listed["file"], listed["line"], listed["reason"]) == ("data.jsonl", 4, reason)
    assert sum(len(row["cu_seqlens"]) - 1 for row in rows_of(out)) == 3


SAID = [
    (
        "data.txt",
        "ft",
        b"Plain text.\n",
        "mend or remove the line; for plain text give --type pretr",
    ),
    ("data.jsonl", "ft", b"[\n", "the line begins a whole list; write one record a line (`jq -c"),
    (
        "data.jsonl",
        "ft",
        b"[" + GOOD[:-1] + b"]\n",
        "the line holds a whole list of dialogues; write",
    ),
    (
        "data.jsonl",
        "ft",
        b'[{"messages": []}]\n',
        "the line holds a whole list of dialogues; write",
    ),
    ("data.jsonl", "pretrain", b'[{"text": "a"}]\n', "the line holds a whole list; write one"),
    (
        "data.jsonl",
        "pretrain",
        b'{"n": 1, "n": 2}\n',
        'an object has the key "n" twice',
    ),
    ("data.jsonl", "pretrain", b"7" * 5000, "malformed JSON: holds a number of over 4300 digits"),
    (
        "data.jsonl",
        "ft",
        b'{"dialog": [{"from": "human", "value": "a"}]}\n',
        'found keys "dialog"; expected {"messages": [{"role": "user", "content": "…"}, ',
    ),
    (
        "data.jsonl",
        "ft",
        b'{"dialog": [{"from": "human", "value": "a"}]}\n',
        'or instruction and output: {"dialog": [{"from": "human", "value": "a"}]}',
    ),
]


@pytest.mark.parametrize(("name", "kind", "content", "said"), SAID)
def test_a_file_of_another_form_is_met_with_the_mend(
    tmp_path: Path, tokenizer: Path, name: str, kind: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadRecord) as caught:
        run_convert(tokenizer, tmp_path / name, tmp_path / "out", type=kind)
    assert said in str(caught.value)


def test_keys_of_a_message_that_say_nothing_are_ignored(tmp_path: Path, tokenizer: Path) -> None:
    nothing = {"name": "x", "tool_calls": [], "weight": None, "meta": {}, "id": ""}
    messages = [{"role": r, "content": "a", **nothing} for r in ("user", "assistant")]
    source = tmp_path / "data.jsonl"
    source.write_text(json.dumps({"messages": messages, "tools": [], "id": 3}))
    run_convert(tokenizer, source, tmp_path / "out", max_len=60)
    bare = [{"role": r, "content": "a"} for r in ("user", "assistant")]
    source.write_text(json.dumps({"messages": bare}))
    run_convert(tokenizer, source, tmp_path / "bare", max_len=60)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "bare") != []


def test_a_file_of_which_nothing_is_left_has_its_account_too(
    tmp_path: Path, tokenizer: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "in" / "b.jsonl").write_bytes(b"{}\n" * 3)
    run_convert(tokenizer, tmp_path / "in", tmp_path / "out", max_len=60, on_error="skip")
    info = info_of(tmp_path / "out", "b")
    assert (info["num_samples"], info["files"]) == (0, [])
    assert info["records"]["dropped"] == {"missing key": 3}
    dataset = open_dataset(tmp_path / "out")
    assert (dataset.num_rows, dataset.kind) == (1, "ft")


def test_the_first_bad_record_is_reported_for_every_number_of_processes(
    tmp_path: Path, tokenizer: Path
) -> None:
    source = tmp_path / "data.jsonl"
    source.write_bytes(GOOD * 500 + b"{\n" + GOOD * 500 + b"}\n")
    for cores in (1, 3):
        with pytest.raises(BadRecord, match="data.jsonl:501: malformed JSON"):
            run_convert(tokenizer, source, tmp_path / "out", cores=cores, chunk_size=10)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"\n\n \n"])
@pytest.mark.parametrize("name", ["data.txt", "data.jsonl"])
def test_an_empty_file_is_an_error(
    tmp_path: Path, tokenizer: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: the file is empty"):
        run_convert(tokenizer, tmp_path / name, tmp_path / "out", type="pretrain")
    with pytest.raises(ValueError, match="no record is left"):
        run_convert(tokenizer, tmp_path / name, tmp_path / "out", type="pretrain", on_error="skip")
    assert not (tmp_path / "out").exists()


def test_when_nothing_is_left_the_error_says_what_was_dropped(
    tmp_path: Path, tokenizer: Path
) -> None:
    source, out = tmp_path / "data.jsonl", tmp_path / "out"
    source.write_bytes(b"{\n" + GOOD * 3)
    said = "dropped: 3 × longer than max_len, 1 × malformed JSON; the first, data.jsonl:1: .*line 1"
    with pytest.raises(ValueError, match=f"no record is left to write; {said}"):
        run_convert(tokenizer, source, out, max_len=3, on_error="skip")


def test_empty_texts_are_counted_and_long_chats_too(tmp_path: Path, tokenizer: Path) -> None:
    source = tmp_path / "data.jsonl"
    source.write_text('{"text": "a"}\n{"text": " \\n"}\n{"text": ""}\n')
    run_convert(tokenizer, source, tmp_path / "text", type="pretrain")
    assert info_of(tmp_path / "text")["records"]["dropped"] == {"empty text": 2}
    long = json.dumps([{"user": "a"}, {"assistant": "b " * 99}]) + "\n"
    source.write_bytes(GOOD + long.encode())
    run_convert(tokenizer, source, tmp_path / "chats", max_len=60)
    assert info_of(tmp_path / "chats")["records"]["dropped"] == {"longer than max_len": 1}


def test_unanswered_chats_are_dropped_by_filter(tmp_path: Path, tokenizer: Path) -> None:
    source = tmp_path / "data.jsonl"
    source.write_bytes(GOOD + b'[{"user": "a"}]\n[{"user": "a"}, {"assistant": ""}]\n')
    run_convert(tokenizer, source, tmp_path / "out", max_len=60, filter=True)
    dropped = info_of(tmp_path / "out")["records"]["dropped"]
    assert dropped == {"no answer": 1, "no trained label": 1}


def test_a_tokenizer_that_cannot_be_used_is_refused_before_anything_is_read(
    tmp_path: Path,
) -> None:
    (tmp_path / "data.jsonl").write_bytes(GOOD)
    with pytest.raises(ValueError, match="no such folder"):
        run_convert(tmp_path / "absent", tmp_path / "data.jsonl", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="expected a folder with tokenizer.json"):
        run_convert(tmp_path / "empty", tmp_path / "data.jsonl", tmp_path / "out")
    tokenizer_with(None).hf.save_pretrained(tmp_path / "base")
    with pytest.raises(ValueError, match="has no chat template"):
        run_convert(tmp_path / "base", tmp_path / "data.jsonl", tmp_path / "out")
    assert not (tmp_path / "out").exists()
