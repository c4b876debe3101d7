"""Ids and mask of chats are those that rendering and tokenising by hand gives."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chat_reference_helpers
from chat_reference_helpers import Messages
from jllm.data.chat.encode_chats import ChatEncoder
from jllm.data.chat.template import ChatTemplate
from jllm.data.records.parse import Chat
from jllm.data.tokenizer.encoder import make_encoder
from tokenizer_helpers import TEMPLATES, tokenizer_with, toy_tokenizer

WORDS = st.text(st.sampled_from("ab 12\n\t.,'éß中🙂{}%<|>\\\"&"), max_size=24)


@st.composite
def dialogues(draw: st.DrawFn) -> Messages:
    """A dialogue of one to three questions and answers, perhaps with a system prompt."""
    messages = [{"role": "system", "content": draw(WORDS)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(WORDS)})
        messages.append({"role": "assistant", "content": draw(WORDS)})
    return messages


def encoder_of(
    name: str, *, fast: bool = True, max_len: int = 10_000, **variables: Any
) -> ChatEncoder:
    tokenizer = toy_tokenizer(name)
    encoder, why_slow = make_encoder(tokenizer, allow_fast=fast)
    assert not fast or why_slow == ""
    template = ChatTemplate(tokenizer=tokenizer, variables=variables)
    return ChatEncoder(template=template, encoder=encoder, max_len=max_len, drop_untrained=False)


ENCODERS = {
    (name, fast): encoder_of(name, fast=fast) for name in TEMPLATES for fast in (True, False)
}


def documents_of(encoder: ChatEncoder, messages: Messages) -> list[tuple[list[int], list[int]]]:
    """(ids, labels) of the documents that a dialogue becomes."""
    made = encoder.encode([Chat(line=1, messages=tuple(messages))])
    assert not made.problems, made.problems
    documents, start, result = made.documents, 0, []
    assert documents.loss_mask is not None
    for length in documents.lengths.tolist():
        ids = documents.ids[start : start + length].tolist()
        flags = documents.loss_mask[start : start + length].tolist()
        result.append((ids, [i if flag else -100 for i, flag in zip(ids, flags, strict=True)]))
        start += length
    return result


def served_prompt(name: str, messages: Messages, **variables: Any) -> list[int]:
    return chat_reference_helpers.served_prompt(toy_tokenizer(name).hf, messages, **variables)


def by_hand(name: str, messages: Messages, **variables: Any) -> list[tuple[list[int], list[int]]]:
    hf, end_of_turn = toy_tokenizer(name).hf, TEMPLATES[name][2]
    return chat_reference_helpers.by_hand(hf, end_of_turn, messages, **variables)


@pytest.mark.parametrize("name", TEMPLATES)
def test_ids_and_mask_are_those_of_rendering_and_tokenising_by_hand(name: str) -> None:
    @settings(max_examples=80, deadline=None)
    @given(messages=dialogues(), fast=st.booleans())
    def check(messages: Messages, fast: bool) -> None:
        assert documents_of(ENCODERS[name, fast], messages) == by_hand(name, messages)

    check()


@pytest.mark.parametrize("answer", ["2", " 2", "\n2", "\n\n 2", "", "  2"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_every_prompt_has_the_ids_that_the_server_gives_the_model(name: str, answer: str) -> None:
    """Of a second answer too, whose history holds the first one."""
    messages = [{"role": "user", "content": "1 + 1?\n\n"}, {"role": "assistant", "content": answer}]
    messages += [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "\n4"}]
    found = []
    for ids, labels in documents_of(ENCODERS[name, True], messages):
        known = [label != -100 for label in labels]
        starts = [n for n, (a, b) in enumerate(pairwise(known), 1) if b and not a]
        found += [ids[:start] for start in starts]
    assert found == [served_prompt(name, messages[:until]) for until in (1, 3)]


def test_only_a_history_of_other_ids_makes_several_examples() -> None:
    def count(answer: str) -> int:
        turns = [("user", "a"), ("assistant", answer), ("user", "b"), ("assistant", "c")]
        messages = [{"role": role, "content": text} for role, text in turns]
        return len(documents_of(ENCODERS["smollm2", True], messages))

    assert [count(answer) for answer in ("two", " two", "\n\ntwo")] == [1, 1, 2]


def test_a_prompt_that_ends_within_a_word_makes_an_example_an_answer() -> None:
    template = "{% for m in messages %}{{ m.role }}:{{ m.content }}<|im_end|>{% endfor %}"
    template += "{% if add_generation_prompt %}assistant:{% endif %}"
    tokenizer = tokenizer_with(template, style="gpt4")
    encoder, _ = make_encoder(tokenizer)
    chats = ChatEncoder(
        template=ChatTemplate(tokenizer=tokenizer),
        encoder=encoder, max_len=999, drop_untrained=False,
    )  # fmt: skip
    turns = [("user", "a"), ("assistant", "'re"), ("user", "b"), ("assistant", "c")]
    messages = [{"role": role, "content": text} for role, text in turns]
    found = documents_of(chats, messages)
    prompt = tokenizer.hf.apply_chat_template(messages[:3], add_generation_prompt=True)["input_ids"]
    assert len(found) == 2 and found[1][0][: len(prompt)] == list(prompt)


@pytest.mark.parametrize("name", ["smollm2", "llama3", "qwen2", "qwen3"])
def test_the_end_of_turn_is_trained_and_the_newline_after_it_is_not(name: str) -> None:
    tokenizer, end = toy_tokenizer(name), TEMPLATES[name][2]
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    ((ids, labels),) = documents_of(ENCODERS[name, True], messages)
    stop = max(place for place, label in enumerate(labels) if label != -100)
    assert labels[stop] == tokenizer.specials[end]
    assert tokenizer.hf.decode(ids[stop + 1 :]) == ("" if name == "llama3" else "\n")


def test_a_dialogue_whose_history_is_rewritten_becomes_an_example_an_answer() -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "<think>\nhmm\n</think>\n\nb"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "<think>\nyes\n</think>\n\nd"},
    ]
    first, second = documents_of(ENCODERS["qwen3", True], messages)
    decode = toy_tokenizer("qwen3").hf.decode
    trained = [decode([i for i in labels if i != -100]) for _, labels in (first, second)]
    assert trained == [
        f"<think>\n{t}\n</think>\n\n{a}<|im_end|>" for t, a in (("hmm", "b"), ("yes", "d"))
    ]
    assert "hmm" not in decode(second[0])


def test_template_variables_are_those_of_the_server() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    encoder = encoder_of("qwen3", enable_thinking=False)
    ((ids, labels),) = documents_of(encoder, messages)
    assert [(ids, labels)] == by_hand("qwen3", messages, enable_thinking=False)
    assert toy_tokenizer("qwen3").hf.decode([i for i in labels if i != -100]) == "b<|im_end|>"
