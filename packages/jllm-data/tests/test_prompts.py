"""RL prompts: ids as Transformers gives them, the number beside them, nothing lost or mixed up."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from convert_helpers import info_of, rows_of, run_convert, snapshot, write_jsonl
from jllm.data.convert.config import Raw2IdsConfig, check_config
from jllm.data.convert.count_records import BadRecord
from jllm.data.reading.dataset import open_dataset
from tokenizer_helpers import (
    SMOLLM2,
    TEMPLATES,
    save_toy_tokenizer,
    tokenizer_with,
    toy_tokenizer,
)

WORDS = ["Why", " is", "1 + 1", "\n\n", "  ", "é", "'s", "<think>", "</think>", "日本", "<s", "|>"]


def dialogues(count: int, *, tools: bool) -> list[list[dict[str, str]]]:
    """Prompts of one to seven messages, some with a system message, some that end with a tool's."""
    rng, made = random.Random(1), []
    for n in range(count):
        roles = ["system"] * (n % 3 == 0) + ["user", "assistant"] * (n % 4) + ["user"]
        if tools and n % 5 == 0:
            roles += ["assistant", "tool"]
        texts = ["".join(rng.choices(WORDS, k=rng.randint(1, 9))) + "." for _ in roles]
        made.append([{"role": r, "content": t} for r, t in zip(roles, texts, strict=True)])
    return made


def short(number: int, messages: list[dict[str, str]]) -> list[Any]:
    return [number, *({m["role"]: m["content"]} for m in messages)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_tokenizer(tmp_path_factory.mktemp("tokenizer"), "qwen2")


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_a_row_is_the_prompt_that_transformers_gives_and_its_number(
    tmp_path: Path, name: str
) -> None:
    save_toy_tokenizer(tmp_path / "tokenizer", name)
    prompts = dialogues(40, tools=name in ("qwen2", "llama3"))
    numbers = [(n * 7919 - 100) % 2**31 for n in range(len(prompts))]
    rows = [short(number, prompt) for number, prompt in zip(numbers, prompts, strict=True)]
    source = write_jsonl(tmp_path / "data.jsonl", rows)
    run_convert(tmp_path / "tokenizer", source, tmp_path / "out", max_len=2000)
    hf, made = toy_tokenizer(name, "digits").hf, rows_of(tmp_path / "out")
    assert [row["labels"] for row in made] == [[number] for number in numbers]
    for row, prompt in zip(made, prompts, strict=True):
        expected = hf.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
        assert row["input_ids"] == expected
    assert [row["records"] for row in made] == [[n] for n in range(1, len(prompts) + 1)]
    info = info_of(tmp_path / "out")
    assert (info["kind"], info["fields"]) == ("rl", ["input_ids", "labels"])
    assert info["records"]["written"] == info["num_samples"] == len(prompts)
    assert (info["tokens"], info["trained_tokens"]) == (sum(len(r["input_ids"]) for r in made), 0)


def test_rows_do_not_depend_on_those_before_them_or_on_the_processes(
    tmp_path: Path, tokenizer: Path
) -> None:
    rows = [short(n, prompt) for n, prompt in enumerate(dialogues(200, tools=True))]
    source = write_jsonl(tmp_path / "data.jsonl", rows)
    for cores in (1, 2, 3):
        out = tmp_path / str(cores)
        run_convert(tokenizer, source, out, type="rl", cores=cores, chunk_size=13, max_len=500)
    assert snapshot(tmp_path / "1") == snapshot(tmp_path / "2") == snapshot(tmp_path / "3")
    (tmp_path / "b").mkdir()
    source = write_jsonl(tmp_path / "b" / "data.jsonl", rows[::-1])
    run_convert(tokenizer, source, tmp_path / "4", max_len=500, batch_size=64)
    forward, backward = rows_of(tmp_path / "1"), rows_of(tmp_path / "4")
    keys = ("input_ids", "labels")
    assert [[row[k] for k in keys] for row in forward] == [
        [row[k] for k in keys] for row in backward[::-1]
    ]
    files = [pq.read_metadata(file).num_rows for file in sorted((tmp_path / "4").glob("*.parquet"))]
    assert files == [64, 64, 64, 8]


def test_both_forms_give_the_same_rows(tmp_path: Path, tokenizer: Path) -> None:
    prompts = dialogues(30, tools=True)
    named = [{"messages": prompt, "id": n, "source": "x"} for n, prompt in enumerate(prompts)]
    (tmp_path / "b").mkdir()
    rows = [short(n, prompt) for n, prompt in enumerate(prompts)]
    run_convert(tokenizer, write_jsonl(tmp_path / "d.jsonl", rows), tmp_path / "1", max_len=500)
    source = write_jsonl(tmp_path / "b" / "d.jsonl", named)
    run_convert(tokenizer, source, tmp_path / "2", type="rl", max_len=500)
    first, second = snapshot(tmp_path / "1"), snapshot(tmp_path / "2")
    assert info_of(tmp_path / "2", "d")["records"]["unused_keys"] == {"source": 30}
    assert first.pop("d_info.json") != second.pop("d_info.json")
    assert first == second and len(first) > 2


def test_prompts_that_are_too_long_are_dropped_and_counted(tmp_path: Path, tokenizer: Path) -> None:
    lengths = [3, 40, 5, 41, 300]
    source = write_jsonl(tmp_path / "data.jsonl", [[n, {"user": "x" * n}] for n in lengths])
    run_convert(tokenizer, source, tmp_path / "all", max_len=2000)
    ids = {row["labels"][0]: len(row["input_ids"]) for row in rows_of(tmp_path / "all")}
    run_convert(tokenizer, source, tmp_path / "out", max_len=ids[40])
    assert [row["labels"] for row in rows_of(tmp_path / "out")] == [[3], [40], [5]]
    records = info_of(tmp_path / "out")["records"]
    assert (records["read"], records["written"]) == (5, 3)
    assert records["dropped"] == {"longer than max_len": 2}
    assert [(one["line"], one["detail"]) for one in records["dropped_list"]] == [
        (4, f"the prompt has {ids[41]} ids, expected at most {ids[40]}"),
        (5, f"the prompt has {ids[300]} ids, expected at most {ids[40]}"),
    ]


PROMPT, CHAT = [1, {"user": "a"}], [{"user": "a"}, {"assistant": "b"}]
BAD = [
    ("ft", PROMPT, CHAT, "not a prompt: a chat without a number among RL prompts"),
    ("ft", CHAT, PROMPT, "another kind: an RL prompt among records of --type ft"),
    ("rl", PROMPT, [2**31, {"user": "a"}], "not a prompt: its number is 2147483648; expected one"),
    ("rl", PROMPT, [10**400, {"user": "a"}], "not a prompt: its number is 1000"),
    ("rl", PROMPT, [True, {"user": "a"}], "not a dialogue: message 1 is a truth value"),
    ("rl", PROMPT, [1], "not a prompt: the prompt has no message"),
    ("rl", PROMPT, [1, {"user": "a"}, {"assistant": "b"}], "not a prompt: the prompt ends with a"),
    ("rl", PROMPT, [1, {"system": "a"}], "not a prompt: the prompt ends with a message by system"),
    ("rl", PROMPT, [1, {"assistant": "a"}, {"user": "a"}], "assistant first"),
    ("rl", PROMPT, [1, 2], "not a dialogue: message 1 is a number"),
    ("rl", PROMPT, {"messages": [{"role": "user", "content": "a"}]}, 'not a prompt: no key "id"'),
    ("rl", PROMPT, {"messages": [], "id": "7"}, 'not a prompt: "id" is a string'),
]


@pytest.mark.parametrize(("kind", "good", "bad", "said"), BAD)
def test_what_is_no_prompt_is_an_error_at_its_line_or_counted(
    tmp_path: Path, tokenizer: Path, kind: str, good: Any, bad: Any, said: str
) -> None:
    first, second, third = ([n, *good[1:]] if good is PROMPT else good for n in range(3))
    source = write_jsonl(tmp_path / "data.jsonl", [first, second, bad, third])
    with pytest.raises(BadRecord) as caught:
        run_convert(tokenizer, source, tmp_path / "out", type=kind, max_len=500)
    assert str(caught.value).startswith(f"{source}:3: {said}")
    run_convert(tokenizer, source, tmp_path / "out", type=kind, max_len=500, on_error="skip")
    records = info_of(tmp_path / "out")["records"]
    assert (records["read"], records["written"]) == (4, 3)
    assert records["dropped"] == {said.split(":")[0]: 1}


def test_a_folder_is_of_one_kind(tmp_path: Path, tokenizer: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text("{\n" + json.dumps(PROMPT))
    write_jsonl(tmp_path / "in" / "b.jsonl", [CHAT])
    with pytest.raises(BadRecord, match="a.jsonl:1: malformed JSON"):
        run_convert(tokenizer, tmp_path / "in", tmp_path / "out", max_len=500)
    (tmp_path / "in" / "a.jsonl").write_text(json.dumps(PROMPT))
    with pytest.raises(BadRecord, match="b.jsonl:1: not a prompt: a chat without a number"):
        run_convert(tokenizer, tmp_path / "in", tmp_path / "out", max_len=500)
    write_jsonl(tmp_path / "in" / "b.jsonl", [[2, *PROMPT[1:]]])
    run_convert(tokenizer, tmp_path / "in", tmp_path / "out", max_len=500)
    dataset = open_dataset(tmp_path / "out")
    assert (dataset.kind, dataset.num_rows, dataset.fields) == ("rl", 2, ("input_ids", "labels"))


def test_a_message_that_the_template_leaves_out_is_refused(tmp_path: Path) -> None:
    template = SMOLLM2.replace(
        "message in messages", "message in messages if message.role != 'tool'"
    )
    tokenizer_with(template).hf.save_pretrained(tmp_path / "tokenizer")
    rows = [[1, {"user": "a"}], [2, {"user": "a"}, {"assistant": "b"}, {"tool": "c"}]]
    source = write_jsonl(tmp_path / "data.jsonl", rows)
    with pytest.raises(BadRecord, match=":2: template refused: .* leaves out message 3 .tool"):
        run_convert(tmp_path / "tokenizer", source, tmp_path / "out", max_len=500)


@pytest.mark.parametrize("flag", ["pad", "filter"])
def test_flags_without_a_meaning_for_prompts_are_refused(
    tmp_path: Path, tokenizer: Path, flag: str
) -> None:
    with pytest.raises(ValueError, match=f"--{flag} has no meaning for RL prompts"):
        check_config(Raw2IdsConfig(tokenizer="a", input="b", type="rl", **{flag: True}))
    source = write_jsonl(tmp_path / "data.jsonl", [PROMPT])
    with pytest.raises(ValueError, match=f"--{flag} has no meaning for RL prompts"):
        run_convert(tokenizer, source, tmp_path / "out", **{flag: True})
