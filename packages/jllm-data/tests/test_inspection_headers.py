"""Headers of templates that are unlike ChatML: found where ids are certain, refused elsewhere."""

import copy

import numpy as np
import pytest

from inspection_helpers import decoded
from jllm.data.tokenizer.load import TextTokenizer, wrap_tokenizer
from jllm.data.tools.inspect.documents import documents_of
from jllm.data.tools.inspect.role_headers import find_turns
from jllm.data.tools.inspect.role_spans import BEFORE, turn_starts
from tokenizer_helpers import tokenizer_with

MISTRAL = """{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}\
{{ '[INST] ' + m['content'] + '[/INST]' }}{% elif m['role'] == 'assistant' %}\
{{ ' ' + m['content'] + eos_token }}{% else %}{{ raise_exception('only user and assistant') }}\
{% endif %}{% endfor %}"""
GEMMA = """{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}\
{{ raise_exception('System role not supported') }}{% endif %}{{ '<start_of_turn>' + \
('model' if m['role'] == 'assistant' else m['role']) + '\n' + m['content'] | trim + \
'<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}\
{% endif %}"""
MERGED = """{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}\
{{ '<start_of_turn>model\n' }}{% else %}{{ '<start_of_turn>user\n' }}{% endif %}\
{{ m['content'] + '<end_of_turn>\n' }}{% endfor %}"""
LLAMA2 = """{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + \
m['content'] + ' [/INST]' }}{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}\
{% endfor %}"""
TALK = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "three"},
    {"role": "assistant", "content": "four"},
]


def with_words(template: str, *special: str) -> TextTokenizer:
    hf = copy.deepcopy(tokenizer_with(template, bos_token="<s>", eos_token="<|im_end|>").hf)
    hf.add_special_tokens({"additional_special_tokens": list(special)})
    return wrap_tokenizer(hf, "toy")


def told(tokenizer: TextTokenizer) -> list[tuple[str, str]]:
    """(role, text) of each turn of TALK."""
    turns = find_turns(tokenizer)
    text = tokenizer.hf.apply_chat_template(TALK, tokenize=False)
    ids = tokenizer.hf(text, add_special_tokens=False)["input_ids"]
    read = decoded([{"input_ids": ids}], max_len=len(ids), document_end_id=None)
    places, codes = turn_starts(turns, read.ids.values, documents_of(read))
    parts = np.split(read.ids.values, places[1:])
    decode = tokenizer.core.decode
    return [
        (turns.names[code], decode(part.tolist(), skip_special_tokens=False))
        for code, part in zip(codes.tolist(), parts, strict=True)
    ]


def test_mistrals_answer_begins_behind_what_closes_the_question() -> None:
    assert told(with_words(MISTRAL, "[INST]", "[/INST]")) == [
        (BEFORE, "<s>"),
        ("user", "[INST] one[/INST]"),
        ("assistant", " two<|im_end|>"),
        ("user", "[INST] three[/INST]"),
        ("assistant", " four<|im_end|>"),
    ]


def test_a_template_that_refuses_roles_has_headers_for_the_others() -> None:
    turns = told(with_words(GEMMA, "<start_of_turn>", "<end_of_turn>"))
    assert [role for role, _ in turns] == [BEFORE, *["user", "assistant"] * 2]
    assert turns[2][1] == "<start_of_turn>model\ntwo<end_of_turn>\n"


def test_roles_with_one_header_are_counted_together() -> None:
    turns = told(with_words(MERGED, "<start_of_turn>", "<end_of_turn>"))
    both = "system or user or tool"
    assert [role for role, _ in turns] == [BEFORE, *[both, "assistant"] * 2]


def test_headers_of_ordinary_text_are_refused() -> None:
    with pytest.raises(ValueError, match="marks the turns of .* with ordinary text"):
        find_turns(with_words(LLAMA2))


def test_a_tokenizer_without_a_template_has_none() -> None:
    with pytest.raises(ValueError, match="has no chat template"):
        find_turns(tokenizer_with(None))
