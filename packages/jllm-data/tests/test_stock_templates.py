"""Stock chat templates on their tokenizers: ids and mask are those of doing it by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_reference_helpers import Messages, by_hand, served_prompt
from convert_helpers import info_of, run_convert, write_jsonl
from jllm.data.chat.encode_chats import ChatEncoder
from jllm.data.chat.refused import ChatRefused
from jllm.data.chat.template import ChatTemplate
from jllm.data.records.parse import Chat
from jllm.data.tokenizer.encoder import Encoder, make_encoder
from stock_templates_helpers import (
    BAICHUAN_SERVED,
    DEEPSEEK_R1,
    STOCK,
    stock_tokenizer,
    with_template,
)
from tokenizer_helpers import save_toy_tokenizer

WORDS = st.text(st.sampled_from("ab 12\n\t.,'éß中🙂{}%<>\\\"&"), max_size=16)
TOOLS = [name for name, (_, _, tools) in STOCK.items() if tools]
REASONING = "<think>\nadd them\n</think>\n\n"


def chat(text: str) -> Messages:
    """`S:…|U:…|A:…|T:…` as messages."""
    roles = {"S": "system", "U": "user", "A": "assistant", "T": "tool"}
    return [{"role": roles[turn[0]], "content": turn[2:]} for turn in text.split("|")]


@pytest.fixture(scope="module")
def encoders() -> dict[str, ChatEncoder]:
    """One a model; those of one vocabulary share the encoder of its texts."""
    made: dict[str, Encoder] = {}
    for name in STOCK:
        tokenizer = stock_tokenizer(name)
        if tokenizer.digest not in made:
            made[tokenizer.digest] = make_encoder(tokenizer)[0]
    return {
        name: ChatEncoder(
            template=ChatTemplate(tokenizer=stock_tokenizer(name)),
            encoder=made[stock_tokenizer(name).digest],
            max_len=10_000,
            drop_untrained=False,
        )
        for name in STOCK
    }


def documents_of(encoder: ChatEncoder, messages: Messages) -> list[tuple[list[int], list[int]]]:
    """(ids, labels) of the documents that a dialogue becomes."""
    made = encoder.encode([Chat(line=1, messages=tuple(messages))])
    assert not made.problems, made.problems
    documents, start, found = made.documents, 0, []
    assert documents.loss_mask is not None
    for length in documents.lengths.tolist():
        ids = documents.ids[start : start + length].tolist()
        flags = documents.loss_mask[start : start + length].tolist()
        found.append((ids, [i if flag else -100 for i, flag in zip(ids, flags, strict=True)]))
        start += length
    return found


def expected(name: str, messages: Messages) -> list[tuple[list[int], list[int]]]:
    return by_hand(stock_tokenizer(name).hf, STOCK[name][1], messages)


def trained_texts(name: str, documents: list[tuple[list[int], list[int]]]) -> list[str]:
    decode = stock_tokenizer(name).hf.decode
    return [decode([i for i in labels if i != -100]) for _, labels in documents]


@st.composite
def dialogues(draw: st.DrawFn, *, tools: bool) -> Messages:
    messages = chat(f"S:{draw(WORDS)}".replace("|", "")) if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 2))):
        messages += [{"role": "user", "content": draw(WORDS)}]
        for _ in range(draw(st.integers(0, 2)) if tools else 0):
            messages += [{"role": "assistant", "content": draw(WORDS)}]
            calls = draw(st.integers(1, 2))
            messages += [{"role": "tool", "content": draw(WORDS)} for _ in range(calls)]
        messages += [{"role": "assistant", "content": draw(WORDS)}]
    return messages


@pytest.mark.parametrize("name", STOCK)
def test_ids_and_mask_are_those_of_rendering_and_tokenising_by_hand(
    name: str, encoders: dict[str, ChatEncoder]
) -> None:
    @settings(max_examples=40, deadline=None)
    @given(messages=dialogues(tools=STOCK[name][2]))
    def check(messages: Messages) -> None:
        assert documents_of(encoders[name], messages) == expected(name, messages)

    check()


@pytest.mark.parametrize("name", STOCK)
def test_an_empty_answer_trains_the_end_of_the_turn(
    name: str, encoders: dict[str, ChatEncoder]
) -> None:
    """Qwen3's template writes an empty thinking block before it, which is trained too."""
    messages = chat("S:Be brief.|U:Hi|A:")
    documents = documents_of(encoders[name], messages)
    assert documents == expected(name, messages)
    block = "<think>\n\n</think>\n\n" if name == "qwen3" else ""
    assert trained_texts(name, documents) == [block + STOCK[name][1]]


@pytest.mark.parametrize("name", [name for name in STOCK if name != "qwen3"])
def test_reasoning_is_text_where_the_template_does_not_know_it(
    name: str, encoders: dict[str, ChatEncoder]
) -> None:
    messages = chat(f"U:1 + 1?|A:{REASONING}2|U:2 + 2?|A:{REASONING}4")
    documents = documents_of(encoders[name], messages)
    assert documents == expected(name, messages)
    end = STOCK[name][1]
    assert "".join(trained_texts(name, documents)) == f"{REASONING}2{end}{REASONING}4{end}"


def test_qwen3_trains_every_reasoning_and_forgets_past_ones(
    encoders: dict[str, ChatEncoder],
) -> None:
    """Within the turns of one question, with tools between, it is kept."""
    call = f"{REASONING}<tool_call>\n{{}}\n</tool_call>"
    messages = chat(f"U:1 + 1?|A:{call}|T:2|A:{REASONING}2|U:2 + 2?|A:{REASONING}4")
    documents = documents_of(encoders["qwen3"], messages)
    assert documents == expected("qwen3", messages)
    end = "<|im_end|>"
    assert [text.split(end)[:-1] for text in trained_texts("qwen3", documents)] == [
        [call],
        [f"{REASONING}2"],
        [f"{REASONING}4"],
    ]
    decode = stock_tokenizer("qwen3").hf.decode
    assert [decode(ids).count("add them") for ids, _ in documents] == [1, 2, 1]


@pytest.mark.parametrize("name", TOOLS)
def test_what_a_tool_says_is_in_the_prompt_and_not_trained(
    name: str, encoders: dict[str, ChatEncoder]
) -> None:
    messages = chat("U:Weather?|A:call|T:rain, 12|T:wind|A:Wet.|U:Thanks|A:Bye")
    documents = documents_of(encoders[name], messages)
    assert documents == expected(name, messages)
    hf, end = stock_tokenizer(name).hf, STOCK[name][1]
    trained = "".join(trained_texts(name, documents))
    assert "rain" not in trained and trained.count(end) == 3
    prompt = served_prompt(hf, messages[:4])
    assert any(ids[: len(prompt)] == prompt for ids, _ in documents)
    assert "rain" in hf.decode(prompt)


@pytest.mark.parametrize("name", STOCK)
def test_a_dialogue_without_a_system_turn_is_rendered_with_the_templates_own(
    name: str, encoders: dict[str, ChatEncoder]
) -> None:
    messages = chat("U:Hi|A:Hello")
    ((ids, labels),) = documents_of(encoders[name], messages)
    ((known, mask),) = expected(name, messages)
    assert (ids, labels) == (known, mask)
    own = name in ("qwen2", "qwen2.5", "smollm2", "llama3.1")
    before = stock_tokenizer(name).hf.decode(ids[: labels.index(max(labels))])
    assert ("system" in before) == own


def refusal(name: str, template: str, messages: Messages) -> ChatRefused:
    with pytest.raises(ChatRefused) as caught:
        ChatTemplate(tokenizer=with_template(stock_tokenizer(name), template)).examples(messages)
    return caught.value


def test_templates_that_teach_another_text_than_is_served_are_refused() -> None:
    """R1's opens the reasoning in the prompt, but writes none before an answer."""
    why = refusal("deepseek-v3", DEEPSEEK_R1, chat("U:Hi|A:Hello"))
    assert why.reason == "no prefix property" and "<think>" in why.detail
    closed = DEEPSEEK_R1.replace("+ '<think>\\n'", "")
    why = refusal("deepseek-v3", closed, chat(f"U:1 + 1?|A:{REASONING}2"))
    assert why.reason == "no answer in the text"


def test_a_template_without_an_end_of_turn_is_refused() -> None:
    assert refusal("baichuan2", BAICHUAN_SERVED, chat("U:Hi|A:Hello")).reason == "no end of turn"


def test_system_turns_alone_have_nothing_to_train(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("system")
    system = {"system": "Be brief."}
    chats = [[system], [system, {"assistant": "Hi"}], [system, {"user": "Hi"}]]
    source = write_jsonl(
        folder / "data.jsonl", [*chats, [system, {"user": "a"}, {"assistant": ""}]]
    )
    tokenizer = save_toy_tokenizer(folder / "model")
    run_convert(tokenizer, source, folder / "out", on_error="skip", max_len=200)
    records = info_of(folder / "out")["records"]
    assert records["written"] == 1
    assert records["dropped"] == {"no answer": 2, "assistant first": 1}
