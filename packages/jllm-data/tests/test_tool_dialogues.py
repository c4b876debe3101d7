"""Tool calls are rendered as Transformers renders them and trained to their end, or refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from chat_reference_helpers import by_hand, served_prompt
from convert_helpers import documents_in, info_of, rows_of, run_convert, write_jsonl
from jllm.data.chat.encode_chats import ChatEncoder
from jllm.data.chat.encode_prompts import PromptEncoder
from jllm.data.chat.template import ChatTemplate
from jllm.data.records.formats.look import dialogue_of
from jllm.data.records.parse import Chat, Prompt
from jllm.data.tokenizer.encoder import make_encoder
from tokenizer_helpers import QWEN2, QWEN3, tokenizer_with

CALLS = """{%- for call in message.tool_calls %}{%- set call = call.function %}
            {{- '\\n<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
            {{- call.arguments | tojson }}{{- '}\\n</tool_call>' }}
        {%- endfor %}"""
TOOLS = """{%- if tools %}{{- '<|im_start|>system\\n# Tools\\n' }}
    {%- for tool in tools %}{{- tool | tojson + '\\n' }}{%- endfor %}{{- '<|im_end|>\\n' }}
{%- endif %}"""
WITH_CALLS = TOOLS + QWEN2.replace(
    "        {{- '<|im_end|>\\n' }}\n    {%- elif message.role == \"tool\"",
    f"        {CALLS}{{{{- '<|im_end|>\\n' }}}}\n    {{%- elif message.role == \"tool\"",
)
"""Qwen2.5's way, shortened."""
FORGETS = """{% if tools %}{{ tools | length }}{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if loop.last or message.role != 'assistant' %}{{ message.content or '' }}{% else %}
{{- (message.content or '').split('</think>')[-1] }}{% endif %}
{%- for call in message.tool_calls or [] %}[{{ call.id }} {{ call.function.name }}
{%- for key, value in call.function.arguments.items() %} {{ key }}={{ value }}{% endfor %}]
{%- endfor %}<|im_end|>
{% endfor %}{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""Takes past reasoning out of the history: a document an answer."""

WEATHER = [{"type": "function", "function": {"name": "weather", "parameters": {"city": "string"}}}]


def call(name: str, number: int = 1, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"type": "function", "function": function, "id": f"call{number}"}


def asks(*calls: dict[str, Any], content: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def says(role: str, content: str, **further: str) -> dict[str, Any]:
    return {"role": role, "content": content, **further}


ANSWERED = [
    says("user", "Köln?"),
    asks(call("weather", city="Köln", days=2)),
    says("tool", "rain", tool_call_id="call1", name="weather"),
    says("assistant", "Rain."),
]
DIALOGUES = {
    "one call": ANSWERED,
    "two calls with text": [
        says("user", "Köln, Bonn?"),
        asks(call("weather", city="Köln"), call("weather", 2, city="Bonn"), content="I look:"),
        says("tool", "rain"),
        says("tool", "sun"),
        says("assistant", "Rain and sun."),
    ],
    "a call at the end": ANSWERED[:2],
    "again and again": [*ANSWERED, says("user", "Now?"), *ANSWERED[1:]],
    "no arguments": [says("user", "Time?"), asks(call("now")), says("tool", "9")] + ANSWERED[3:],
    "tools alone": [says("user", "Hi"), says("assistant", "Hi!")],
}


def encoder_of(template: str) -> tuple[ChatEncoder, PromptEncoder]:
    encoder, _ = make_encoder(tokenizer_with(template, style="gpt4"), allow_fast=False)
    made = ChatTemplate(tokenizer=encoder.tokenizer)
    chats = ChatEncoder(template=made, encoder=encoder, max_len=999, drop_untrained=False)
    return chats, PromptEncoder(template=made, encoder=encoder, max_len=999)


def documents(chats: ChatEncoder, value: dict[str, Any]) -> list[tuple[list[int], list[int]]]:
    """(ids, labels) of each document of a record."""
    found = dialogue_of(value)
    made = chats.encode([Chat(line=1, messages=tuple(found.messages), tools=found.tools)])
    assert not made.problems, made.problems
    assert made.documents.loss_mask is not None
    ids, at, all_ = made.documents.ids.tolist(), 0, []
    for length in made.documents.lengths.tolist():
        part = range(at, at + length)
        labels = [ids[i] if made.documents.loss_mask[i] else -100 for i in part]
        all_.append(([ids[i] for i in part], labels))
        at += length
    return all_


def refusal(template: str, value: dict[str, Any]) -> tuple[str, str]:
    found, (chats, _) = dialogue_of(value), encoder_of(template)
    made = chats.encode([Chat(line=1, messages=tuple(found.messages), tools=found.tools)])
    assert not len(made.documents)
    (problem,) = made.problems
    return problem.reason, problem.detail


@pytest.mark.parametrize("template", [WITH_CALLS, FORGETS], ids=["qwen2.5", "forgets"])
@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("name", DIALOGUES)
def test_calls_have_the_ids_of_every_turn_rendered_by_hand(
    name: str, template: str, described: bool
) -> None:
    messages, (chats, _) = DIALOGUES[name], encoder_of(template)
    tools = WEATHER if described else []
    reference = by_hand(chats.encoder.tokenizer.hf, "<|im_end|>", messages, tools=tools or None)
    value = {"messages": messages, "tools": tools}
    assert documents(chats, value) == reference
    assert documents(chats, value) == reference, "from what was learnt of the first"


def test_a_call_has_the_ids_of_the_same_call_written_as_text() -> None:
    text = (
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln", "days": 2}}\n</tool_call>'
    )
    seeds = [{"user": "Köln?"}, {"assistant": text}, {"tool": "rain"}, {"assistant": "Rain."}]
    chats, _ = encoder_of(WITH_CALLS)
    turns = [Chat(line=1, messages=tuple(dialogue_of(seeds).messages))]
    assert (
        documents(chats, {"messages": ANSWERED})[0][0] == chats.encode(turns).documents.ids.tolist()
    )


def test_reasoning_of_past_answers_makes_a_document_an_answer() -> None:
    messages = [says("user", "a"), asks(call("f"), content="<think>x</think>b"), says("tool", "c")]
    messages += [says("assistant", "<think>y</think>d")]
    chats, _ = encoder_of(FORGETS)
    reference = by_hand(chats.encoder.tokenizer.hf, "<|im_end|>", messages)
    assert documents(chats, {"messages": messages}) == reference and len(reference) == 2


def test_a_prompt_may_have_tools_and_calls() -> None:
    chats, prompts = encoder_of(WITH_CALLS)
    found = dialogue_of({"messages": ANSWERED[:3], "tools": WEATHER})
    asked = Prompt(line=1, number=3, messages=tuple(found.messages), tools=found.tools)
    made = prompts.encode([asked])
    expected = served_prompt(chats.encoder.tokenizer.hf, ANSWERED[:3], tools=WEATHER)
    assert not made.problems and made.documents.ids.tolist() == expected


def test_special_tokens_that_were_typed_stay_text_in_calls_and_tools() -> None:
    typed = "<|im_end|>"
    messages = [says("user", typed), asks(call("f", **{typed: typed})), says("tool", typed)]
    messages += [says("assistant", "ok")]
    tools = [{"type": "function", "function": {"name": "f", "description": typed}}]
    chats, _ = encoder_of(WITH_CALLS)
    ((ids, _),) = documents(chats, {"messages": messages, "tools": tools})
    hf = chats.encoder.tokenizer.hf
    assert hf.decode(ids) == hf.apply_chat_template(messages, tools=tools, tokenize=False)
    clean = json.loads(json.dumps([messages, tools]).replace(typed, "x"))
    ((plain, _),) = documents(chats, {"messages": clean[0], "tools": clean[1]})
    special = hf.convert_tokens_to_ids(typed)
    assert ids.count(special) == plain.count(special) == 6
    escapes = WITH_CALLS.replace(
        "call.arguments | tojson", "call.arguments | tojson(ensure_ascii=true)"
    )
    reason, said = refusal(escapes, {"messages": messages, "tools": tools})
    assert reason == "template refused" and f"changes {typed!r}" in said


@pytest.mark.parametrize(
    ("template", "value", "reason", "said"),
    [
        (
            QWEN2,
            {"messages": ANSWERED},
            "no answer in the text",
            "leaves out all of what message 2",
        ),
        (
            QWEN2,
            {"messages": DIALOGUES["tools alone"], "tools": WEATHER},
            "template refused",
            'does not write "tools"',
        ),
        (
            WITH_CALLS.replace("{%- if message.content %}", "{%- if false %}"),
            {"messages": DIALOGUES["two calls with text"]},
            "no answer in the text",
            "leaves out a part of what message 2 (assistant) says or calls",
        ),
        (
            WITH_CALLS.replace("in message.tool_calls", "in message.tool_calls[:1]"),
            {"messages": DIALOGUES["two calls with text"]},
            "no answer in the text",
            "leaves out a part",
        ),
        (
            WITH_CALLS.replace("endfor %}{{- '<|im_end|>\\n' }}", "endfor %}{{- '<s>\\n' }}"),
            {"messages": ANSWERED},
            "no end of turn",
            "does not write '<|im_end|>', which ends other answers, after the calls of message 2",
        ),
        (
            WITH_CALLS.replace("'\\n<tool_call>", "' <tool_call>"),
            {"messages": ANSWERED},
            "no prefix property",
            "message 2",
        ),
        (
            WITH_CALLS.replace("call.arguments | tojson", "'' + call.arguments"),
            {"messages": ANSWERED},
            "template refused",
            "the chat template fails on it",
        ),
        (
            QWEN3,
            {"messages": [ANSWERED[0], says("assistant", "f()"), *ANSWERED[2:]]},
            "template refused",
            "message 3 (tool)",
        ),
    ],
)
def test_a_template_that_cannot_render_calls_is_refused(
    template: str, value: dict[str, Any], reason: str, said: str
) -> None:
    found, detail = refusal(template, value)
    assert found == reason and said in detail


def test_calls_go_from_file_to_file(tmp_path: Path) -> None:
    made = tokenizer_with(WITH_CALLS, style="gpt4")
    made.hf.save_pretrained(tmp_path / "model")
    given = json.loads(json.dumps(ANSWERED))
    given[1]["tool_calls"][0]["function"]["arguments"] = '{"city": "Köln", "days": 2}'
    record = {"messages": given, "tools": json.dumps(WEATHER), "id": 1}
    source = write_jsonl(tmp_path / "data.jsonl", [record, {**record, "messages": given[:1]}])
    run_convert(tmp_path / "model", source, tmp_path / "out", max_len=300, on_error="skip", cores=2)
    ((ids, _),) = by_hand(made.hf, "<|im_end|>", ANSWERED, tools=WEATHER)
    assert documents_in(rows_of(tmp_path / "out")) == [ids]
    records = info_of(tmp_path / "out")["records"]
    assert records["dropped"] == {"no answer": 1} and records["unused_keys"] == {"id": 1}
