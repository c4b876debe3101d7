"""--auto_no_thinking: each chat is rendered as it is served, with or without thinking."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from convert_helpers import run_convert, write_jsonl
from jllm.data.chat.render_options import thinking_off
from jllm.data.chat.template import ChatTemplate
from jllm.data.convert.config import Raw2IdsConfig, check_config
from tokenizer_helpers import TEMPLATES, save_toy_tokenizer, tokenizer_with, toy_tokenizer

HF = toy_tokenizer("qwen3", "digits").hf
EMPTY = "<think>\n\n</think>\n\n"
PLAIN = [("user", "a b"), ("assistant", "one two")]
LONG = [("system", "s"), *PLAIN, ("user", "more?"), ("assistant", "three")]
REASONED = [("user", "why"), ("assistant", "<think>\nhmm, 12\n</think>\n\nso")]
MIXED = [*PLAIN, *REASONED]
GLM = """{%- for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>{% endfor %}{%- if add_generation_prompt -%}<|im_start|>assistant
{%- if enable_thinking is defined and not enable_thinking %}
{{ '<think></think>' }}{% endif %}{% endif %}"""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_tokenizer(tmp_path_factory.mktemp("tokenizer"), "qwen3")


def by_hand(turns: list[tuple[str, str]], **variables: Any) -> list[tuple[list[int], list[int]]]:
    """(ids, labels) of one document an answer, from Transformers' own rendering."""
    messages, found = [{"role": role, "content": text} for role, text in turns], []
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = HF.apply_chat_template(
            messages[:number], add_generation_prompt=True, tokenize=False, **variables
        )
        whole = HF.apply_chat_template(messages[: number + 1], tokenize=False, **variables)
        answer = whole.removeprefix(prompt).removesuffix("\n")
        assert answer.endswith("<|im_end|>") and whole.startswith(prompt)
        parts = [HF(text)["input_ids"] for text in (prompt, answer, "\n")]
        labels = [-100] * len(parts[0]) + parts[1] + [-100] * len(parts[2])
        found.append((sum(parts, []), labels))
    return found


def documents_of(output: Path) -> list[tuple[list[int], list[int]]]:
    found = []
    for row in pq.read_table(next(output.glob("*.parquet"))).to_pylist():
        edges = [*row["cu_seqlens"][:-1], len(row["input_ids"])]
        for start, stop in zip(edges, edges[1:], strict=False):
            found.append((row["input_ids"][start:stop], row["labels"][start:stop]))
    return sorted(found)


def convert_chats(tokenizer: Path, folder: Path, chats: list[Any], **settings: Any) -> Path:
    values = [[{role: text} for role, text in chat] for chat in chats]
    source = write_jsonl(folder / "data.jsonl", values)
    run_convert(tokenizer, source, folder / "out", max_len=400, **settings)
    return folder / "out"


def test_chats_without_reasoning_answer_behind_the_empty_block(
    tmp_path: Path, tokenizer: Path
) -> None:
    """It lies in the prompt; chats with reasoning are as they are without the flag."""
    chats = [PLAIN, LONG, REASONED, MIXED]
    found = documents_of(convert_chats(tokenizer, tmp_path, chats, auto_no_thinking=True))
    off = [*by_hand(PLAIN, enable_thinking=False), *by_hand(LONG, enable_thinking=False)]
    assert found == sorted([*off, *by_hand(REASONED), *by_hand(MIXED)])
    for ids, labels in off:
        answer = HF.decode([i for i in labels if i != -100])
        assert "think" not in answer
        assert f"{EMPTY}{answer}" in HF.decode(ids)


def test_without_the_flag_the_empty_block_is_trained_where_the_template_writes_it(
    tmp_path: Path, tokenizer: Path
) -> None:
    ((_, labels),) = documents_of(convert_chats(tokenizer, tmp_path, [PLAIN]))
    assert HF.decode([i for i in labels if i != -100]) == f"{EMPTY}one two<|im_end|>"


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name != "qwen3"])
def test_a_template_without_the_notion_is_refused(tmp_path: Path, name: str) -> None:
    tokenizer = save_toy_tokenizer(tmp_path / "tokenizer", name)
    with pytest.raises(ValueError, match="writes no think block when enable_thinking is false"):
        convert_chats(tokenizer, tmp_path, [PLAIN], auto_no_thinking=True)
    assert not (tmp_path / "out").exists()


def test_any_template_that_reads_the_switch_is_taken() -> None:
    off = thinking_off(ChatTemplate(tokenizer=tokenizer_with(GLM)))
    asked = [{"role": "user", "content": "?"}]
    assert off.render(asked, prompt=True).endswith("assistant<think></think>")


def test_the_switch_cannot_be_set_twice(tmp_path: Path, tokenizer: Path) -> None:
    with pytest.raises(ValueError, match="leave it out of --template_kwargs"):
        convert_chats(
            tokenizer, tmp_path, [PLAIN], auto_no_thinking=True,
            template_kwargs='{"enable_thinking": true}',
        )  # fmt: skip


@pytest.mark.parametrize("kind", ["pretrain", "rl"])
def test_it_is_for_chats_alone(kind: str) -> None:
    with pytest.raises(ValueError, match="--auto_no_thinking"):
        check_config(Raw2IdsConfig(tokenizer="t", input="i", type=kind, auto_no_thinking=True))
