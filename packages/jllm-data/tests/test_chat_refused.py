"""Templates and dialogues that cannot be trained on exactly are refused, saying why."""

from typing import Any

import pytest

from jllm.data.chat.encode_chats import ChatEncoder
from jllm.data.chat.encode_prompts import PromptEncoder
from jllm.data.chat.refused import ChatRefused
from jllm.data.chat.template import SHAPES, ChatTemplate
from jllm.data.records.formats.look import dialogue_of
from jllm.data.records.parse import Chat, Prompt
from jllm.data.tokenizer.encoder import make_encoder
from tokenizer_helpers import SMOLLM2, tokenizer_with, toy_tokenizer

DIALOGUE = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
PLAIN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


def refusal(template: str) -> ChatRefused:
    with pytest.raises(ChatRefused) as caught:
        ChatTemplate(tokenizer=tokenizer_with(template)).examples(DIALOGUE)
    return caught.value


def test_a_prompt_that_is_no_prefix_shows_where_the_texts_part() -> None:
    why = refusal(PLAIN + "{% if add_generation_prompt %}<|im_start|>model\n{% endif %}")
    assert why.reason == "no prefix property"
    assert (
        "the prompt has 'model\\n', the text 'assistant\\n⟨message 2⟩<|im_end|>\\n'" in why.detail
    )


def test_a_template_that_hides_answers_is_refused() -> None:
    hidden = (
        "{% for m in messages %}{% if m.role == 'user' %}<s>{{ m.content }}{% endif %}{% endfor %}"
    )
    why = refusal(hidden)
    assert (why.reason, "message 2" in why.detail) == ("no answer in the text", True)


@pytest.mark.parametrize("written", [False, True])
def test_a_name_is_left_out_or_refused_where_the_template_writes_it(written: bool) -> None:
    name = "{{ m.name | default('') }}" if written else ""
    template = PLAIN.replace("{{ m.role }}", "{{ m.role }}" + name) + PROMPT
    encoder, _ = make_encoder(tokenizer_with(template), allow_fast=False)
    template = ChatTemplate(tokenizer=encoder.tokenizer)
    named = ({**DIALOGUE[0], "name": "Bob"}, DIALOGUE[1])
    assert dialogue_of({"messages": list(named)}).messages == list(named)
    chats = ChatEncoder(template=template, encoder=encoder, max_len=99, drop_untrained=False)
    bare, made = (chats.encode([Chat(line=1, messages=m)]) for m in (tuple(DIALOGUE), named))
    prompts = PromptEncoder(template=template, encoder=encoder, max_len=99)
    asked = prompts.encode([Prompt(line=1, number=1, messages=named[:1])])
    if written:
        assert [one.reason for one in (*made.problems, *asked.problems)] == ["template refused"] * 2
    else:
        assert made.documents.ids.tolist() == bare.documents.ids.tolist() != []
        assert not asked.problems and len(asked.documents) == 1


R1 = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<｜Assistant｜>"
    "{{ m.content.split('</think>')[-1] }}<|im_end|>{% else %}<｜User｜>{{ m.content }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<｜Assistant｜>{% endif %}"
)
"""Takes reasoning out of every answer, the last one too, as R1-Distill does."""


def test_a_template_that_hides_part_of_an_answer_is_refused_where_it_does() -> None:
    template = ChatTemplate(tokenizer=tokenizer_with(R1))
    thought = {"role": "assistant", "content": "<think>\nadd them\n</think>\n\n4"}
    template.examples(DIALOGUE)
    with pytest.raises(ChatRefused, match="leaves out part of the text of message 2") as caught:
        template.examples([DIALOGUE[0], thought])
    assert caught.value.reason == "no answer in the text"
    kept = ChatTemplate(tokenizer=tokenizer_with(R1.replace(".split('</think>')[-1]", "")))
    assert "add them" in kept.examples([DIALOGUE[0], thought])[0].whole()


def test_white_space_of_an_answer_may_be_rendered_otherwise() -> None:
    template = ChatTemplate(tokenizer=toy_tokenizer("qwen3"))
    answer = {"role": "assistant", "content": "<think>hmm</think>\n\n\nHi "}
    assert "<think>\nhmm\n</think>\n\nHi " in template.examples([DIALOGUE[0], answer])[0].whole()
    given = ChatTemplate(tokenizer=toy_tokenizer("qwen3"), variables={"enable_thinking": False})
    empty = {"role": "assistant", "content": "<think>\n\n</think>\n\nHi"}
    assert given.examples([DIALOGUE[0], empty])[0].whole().endswith("Hi<|im_end|>\n")


DATED = "{{ date_string if date_string is defined else strftime_now('%d %b %Y') }}" + PLAIN + PROMPT


@pytest.mark.parametrize("template", [DATED, "{{ strftime_now('%d-%m-%Y') }}" + PLAIN + PROMPT])
def test_a_template_that_writes_the_day_must_be_given_one(template: str) -> None:
    with pytest.raises(ValueError, match="date_string"):
        chat_encoder(tokenizer_with(template)).probe()
    given = {"date_string": "26 Jul 2024"}
    dated = ChatTemplate(tokenizer=tokenizer_with(template), variables=given)
    assert dated.render(DIALOGUE, prompt=True).startswith("26 Jul 2024<|im_start|>")


def test_only_so_many_sequences_of_roles_are_remembered() -> None:
    template = ChatTemplate(tokenizer=tokenizer_with(PLAIN + PROMPT))
    for count in range(SHAPES + 20):
        questions = [
            {"role": "user" if count >> bit & 1 else "system", "content": ""} for bit in range(9)
        ]
        template.examples([*questions, *DIALOGUE])
    assert 0 < len(template._shapes) <= SHAPES


def test_a_template_that_is_rendered_otherwise_than_it_was_filled_in_is_found_out() -> None:
    template = ChatTemplate(tokenizer=tokenizer_with(PLAIN + PROMPT))
    filled = template.examples(DIALOGUE)
    template.check(DIALOGUE, filled)
    with pytest.raises(AssertionError, match="did something else"):
        template.check([{**DIALOGUE[0], "content": "Bye"}, DIALOGUE[1]], filled)


def test_a_template_that_hides_a_question_is_refused() -> None:
    why = refusal("{% for m in messages[1:] %}<s>{{ m.content }}<|im_end|>{% endfor %}")
    assert why.reason == "template refused" and "leaves out message 1 (user)" in why.detail


def test_a_template_without_an_end_of_turn_is_refused() -> None:
    why = refusal("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
                  "{% if add_generation_prompt %}assistant: {% endif %}")  # fmt: skip
    assert why.reason == "no end of turn" and "learn to stop" in why.detail


def test_what_the_template_itself_refuses_is_reported_in_its_words() -> None:
    why = refusal(PLAIN + "{{ raise_exception('roles must alternate') }}")
    assert why.reason == "template refused" and "roles must alternate" in why.detail


def test_a_tokenizer_without_a_template_is_refused() -> None:
    with pytest.raises(ValueError, match="no chat template"):
        ChatTemplate(tokenizer=tokenizer_with(None))


def test_a_tokenizer_that_marks_the_beginning_of_a_text_is_refused() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from jllm.data.tokenizer.load import wrap_tokenizer

    core = Tokenizer(models.BPE({"▁": 0, **{chr(c): c for c in range(1, 127)}}, []))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    core.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    hf = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>")
    hf.chat_template = "x" + PLAIN + PROMPT
    tokenizer = wrap_tokenizer(hf, "toy")
    with pytest.raises(ValueError, match="cut at special tokens"):
        chat_encoder(tokenizer).probe()
    chat_encoder(toy_tokenizer("smollm2")).probe()


def chat_encoder(tokenizer: Any, *, max_len: int = 9999, drop: bool = False) -> ChatEncoder:
    encoder, _ = make_encoder(tokenizer)
    template = ChatTemplate(tokenizer=tokenizer)
    return ChatEncoder(template=template, encoder=encoder, max_len=max_len, drop_untrained=drop)


def four_turns() -> Chat:
    turns = [("user", "one"), ("assistant", "two"), ("user", "three"), ("assistant", "four " * 9)]
    return Chat(line=7, messages=tuple({"role": r, "content": c} for r, c in turns))


def test_a_long_dialogue_keeps_the_turns_that_fit_whole_and_is_counted() -> None:
    tokenizer = tokenizer_with(SMOLLM2)
    whole = chat_encoder(tokenizer).encode([four_turns()]).documents
    first = Chat(line=7, messages=four_turns().messages[:2])
    alone = chat_encoder(tokenizer).encode([first]).documents
    for max_len in (len(alone.ids), len(whole.ids) - 2):
        made = chat_encoder(tokenizer, max_len=max_len).encode([four_turns()])
        assert made.documents.ids.tolist() == alone.ids[:-1].tolist()
        assert (made.truncated, made.problems) == ({"turns beyond max_len": 1}, [])
    exact = chat_encoder(tokenizer, max_len=len(whole.ids) - 1).encode([four_turns()])
    assert exact.documents.ids.tolist() == whole.ids[:-1].tolist() and not exact.truncated
    (problem,) = chat_encoder(tokenizer, max_len=len(alone.ids) - 2).encode([four_turns()]).problems
    assert (problem.line, problem.reason, problem.fatal) == (7, "longer than max_len", False)


def test_turns_after_the_last_answer_are_left_out_and_counted() -> None:
    chat = Chat(line=1, messages=(*DIALOGUE, {"role": "user", "content": "Bye"}))
    made = chat_encoder(tokenizer_with(SMOLLM2)).encode([chat])
    expected = chat_encoder(tokenizer_with(SMOLLM2)).encode(
        [Chat(line=1, messages=tuple(DIALOGUE))]
    )
    assert made.documents.ids.tolist() == expected.documents.ids.tolist()
    assert made.truncated == {"turns after the last answer": 1}


def test_empty_answers_are_dropped_on_request_only() -> None:
    chat = Chat(line=3, messages=(DIALOGUE[0], {"role": "assistant", "content": ""}))
    assert len(chat_encoder(tokenizer_with(SMOLLM2)).encode([chat]).documents) == 1
    made = chat_encoder(tokenizer_with(SMOLLM2), drop=True).encode([chat])
    assert [problem.reason for problem in made.problems] == ["no trained label"]
