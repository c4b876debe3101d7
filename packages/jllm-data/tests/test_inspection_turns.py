"""Whose turn an id is in: held against a rendering of each message by itself."""

import re
from collections import Counter

import numpy as np
import pytest

from inspection_helpers import decoded
from jllm.data.chat.encode_chats import ChatEncoder
from jllm.data.chat.template import ChatTemplate
from jllm.data.records.parse import Chat
from jllm.data.tokenizer.encoder import make_encoder
from jllm.data.tools.inspect.documents import documents_of, trained_ids
from jllm.data.tools.inspect.role_headers import find_turns
from jllm.data.tools.inspect.role_spans import BEFORE, Header, Turns, role_counts, turn_starts
from tokenizer_helpers import TEMPLATES, tokenizer_with, toy_tokenizer

DATE = {"date_string": "26 Jul 2024"}
TALKS = [
    "user Hello there\n\n, 1 + 1? assistant Two.",
    "system Be brief. user a assistant b user <|im_start|>assistant c assistant d e f",
    "user  spaces  assistant \n\nempty line",
]
WITH_TOOL = "user a assistant call tool the result assistant done"
PATTERNS = {
    "smollm2": r"<\|im_start\|>(\w+)\n", "qwen2": r"<\|im_start\|>(user\n<tool_response>|\w+)\n",
    "qwen3": r"<\|im_start\|>(\w+)\n", "phi": r"<\|start_header_id\|>(\w+)\n",
    "llama3": r"<\|start_header_id\|>(\w+)<\|end_header_id\|>",
    "deepseek": r"<｜(User|Assistant)｜>",
}  # fmt: skip
NAMES = {
    "user\n<tool_response>": "tool",
    "ipython": "tool",
    "User": "user",
    "Assistant": "assistant",
}


def messages_of(talk: str) -> tuple[dict[str, str], ...]:
    parts = re.split(r"(?:^| )(system|user|assistant|tool) ", talk)[1:]
    return tuple({"role": r, "content": c} for r, c in zip(parts[::2], parts[1::2], strict=True))


def naive_roles(text_of_ids: list[str], special: list[bool], pattern: str, first: str) -> list[str]:
    """The role of every id: headers are looked for in the text, where they begin with a special."""
    roles, role, text = [], first, "".join(text_of_ids)
    at = 0
    for piece, is_special in zip(text_of_ids, special, strict=True):
        if is_special and (found := re.compile(pattern).match(text, at)):
            role = NAMES.get(found[1], found[1])
        roles.append(role)
        at += len(piece)
    return roles


@pytest.mark.parametrize("name", TEMPLATES)
def test_turns_are_those_that_the_text_shows(name: str) -> None:
    tokenizer = toy_tokenizer(name, "gpt4")
    template = ChatTemplate(tokenizer=tokenizer, variables=DATE)
    encoder = ChatEncoder(
        template=template, encoder=make_encoder(tokenizer, allow_fast=False)[0], max_len=999,
        drop_untrained=False,
    )  # fmt: skip
    tools = [WITH_TOOL] if name in ("smollm2", "llama3", "qwen2") else []
    talks = [messages_of(talk) for talk in TALKS + tools]
    made = encoder.encode([Chat(line=1, messages=talk) for talk in talks])
    assert not made.problems
    turns = find_turns(tokenizer)
    specials = set(tokenizer.specials.values())
    counts, trained_counts, at = Counter(), Counter(), 0
    rows = []
    for length in made.documents.lengths.tolist():
        part = slice(at, at + length)
        ids, trained = made.documents.ids[part].tolist(), made.documents.loss_mask[part].tolist()
        at += length
        rows.append(
            {
                "input_ids": ids,
                "labels": [i if t else -100 for i, t in zip(ids, trained, strict=True)],
            }
        )
        texts = [tokenizer.core.decode([i], skip_special_tokens=False) for i in ids]
        special = [i in specials for i in ids]
        begin = special[0] and texts[0] == tokenizer.hf.bos_token and name in ("llama3", "deepseek")
        roles = naive_roles(
            texts, special, PATTERNS[name], "system" if name == "deepseek" else BEFORE
        )
        roles[0] = BEFORE if begin else roles[0]
        counts.update(roles)
        trained_counts.update(role for role, t in zip(roles, trained, strict=True) if t)
    read = decoded(rows, max_len=999, document_end_id=None)
    documents = documents_of(read)
    found, found_trained = role_counts(
        turns, read.ids.values, documents, trained_ids(read, documents)
    )
    assert {n: c for n, c in zip(turns.names, found.tolist(), strict=True) if c} == dict(counts)
    assert {n: c for n, c in zip(turns.names, found_trained.tolist(), strict=True) if c} == dict(
        trained_counts
    )
    assert set(trained_counts) == {"assistant"}
    assert {"user", "assistant", "system"} <= set(counts)
    assert not tools or counts["tool"] > 0


def test_a_header_that_ends_with_the_turn_before_gives_that_part_to_it() -> None:
    """As Mistral's [/INST] (8): it closes what the user said."""
    headers = (Header(role="user", ids=(7,)), Header(role="assistant", ids=(8,), skipped=1))
    turns = Turns(headers=headers, beginning=(1,))
    read = decoded([{"input_ids": [1, 7, 4, 8, 5, 5, 2]}], max_len=9, document_end_id=None)
    places, codes = turn_starts(turns, read.ids.values, documents_of(read))
    named = [turns.names[code] for code in codes]
    assert list(zip(places.tolist(), named, strict=True)) == [
        (0, BEFORE),
        (1, "user"),
        (4, "assistant"),
    ]


def test_the_longer_of_two_headers_counts_and_closing_documents_count_nothing() -> None:
    headers = (Header(role="tool", ids=(7, 4, 6)), Header(role="user", ids=(7, 4)))
    rows = [{"input_ids": [7, 4, 5, 7, 4, 6, 5, 3, 3], "cu_seqlens": [0, 7, 8]}]
    read = decoded(rows, max_len=9, document_end_id=3)
    turns, documents = Turns(headers=headers), documents_of(read)
    ids, trained = role_counts(turns, read.ids.values, documents, np.ones(9, bool))
    assert dict(zip(turns.names, ids.tolist(), strict=True)) == {"tool": 4, "user": 3, BEFORE: 0}
    assert trained.tolist() == ids.tolist()


def test_turns_marked_by_ordinary_text_are_not_guessed() -> None:
    plain = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
    with pytest.raises(ValueError, match="marks the turns of .* with ordinary text"):
        find_turns(tokenizer_with(plain))
