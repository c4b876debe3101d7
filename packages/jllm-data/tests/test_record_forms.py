"""One dialogue in any form has the same messages; what is not read is listed, or refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jllm.data.records.formats.look import SECOND, TRAINING, dialogue_of
from jllm.data.records.formats.sharegpt import SPEAKERS
from jllm.data.records.message_formats import text_of
from jllm.data.records.unusable import Unusable

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
TURNS = st.lists(st.tuples(st.sampled_from(["user", "assistant", "tool", "system"]), TEXTS))


def short(turns: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{role: text} for role, text in turns]


def openai(turns: list[tuple[str, str]], **further: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns], **further}


def refused(value: object) -> Unusable:
    with pytest.raises(Unusable) as caught:
        dialogue_of(value)
    return caught.value


@given(turns=TURNS, data=st.data())
def test_every_form_maps_to_the_messages_of_the_short_one(
    turns: list[tuple[str, str]], data: st.DataObject
) -> None:
    expected = dialogue_of(short(turns)).messages
    names = {role: [name for name, of in SPEAKERS.items() if of == role] for role, _ in turns}
    speakers = [data.draw(st.sampled_from(names[role])) for role, _ in turns]
    said = [{"from": name, "value": text} for name, (_, text) in zip(speakers, turns, strict=True)]
    assert dialogue_of({"conversations": said}).messages == expected
    assert dialogue_of({"conversations": openai(turns)["messages"]}).messages == expected
    assert dialogue_of(openai(turns)).messages == expected
    cuts = [data.draw(st.integers(0, len(text))) for _, text in turns]
    parts = [
        {
            "role": role,
            "content": [{"type": "text", "text": piece} for piece in (text[:cut], text[cut:])],
        }
        for cut, (role, text) in zip(cuts, turns, strict=True)
    ]
    assert dialogue_of({"messages": parts}).messages == expected


@given(instruction=TEXTS, given_=TEXTS, output=TEXTS, system=TEXTS)
def test_alpaca_is_the_instruction_a_line_end_and_the_input(
    instruction: str, given_: str, output: str, system: str
) -> None:
    record = {"instruction": instruction, "input": given_, "output": output, "system": system}
    question = f"{instruction}\n{given_}" if given_ else instruction
    turns = [("system", system)] * bool(system) + [("user", question), ("assistant", output)]
    assert dialogue_of(record).messages == dialogue_of(short(turns)).messages
    del record["input"], record["system"]
    bare = [("user", instruction), ("assistant", output)]
    assert dialogue_of(record).messages == dialogue_of(short(bare)).messages


@given(turns=TURNS.filter(lambda turns: not turns or turns[0][0] != "system"))
def test_a_system_key_beside_the_messages_is_the_system_turn(turns: list[tuple[str, str]]) -> None:
    expected = dialogue_of(short([("system", "Be kind."), *turns])).messages
    assert dialogue_of(openai(turns, system="Be kind.")).messages == expected
    part = [{"type": "text", "text": "Be kind."}]
    assert dialogue_of(openai(turns, system=part)).messages == expected
    again = refused(openai([("system", "Be rude."), *turns], system="Be kind."))
    assert "beside messages that begin with a system turn" in again.detail


def test_keys_that_are_not_used_are_listed_and_null_is_none() -> None:
    turns = [("user", "a"), ("assistant", "b")]
    record = openai(turns, id=3, source="x", score=None, tools=[], **{"k\n" + "e" * 50: 0})
    assert dialogue_of(record).unused == ("id", "source", "k\\n" + "e" * 38 + "…")
    assert text_of({"text": "a", "url": "u", "labels": [3]}) == ("a", ("url", "labels"))
    magpie = {"uuid": 1, "instruction": "a", "response": "b", **openai(turns)}
    assert dialogue_of(magpie).unused == ("uuid", "instruction", "response")


@pytest.mark.parametrize("key", [*TRAINING, *SECOND, "functions", "documents"])
@pytest.mark.parametrize("form", ["messages", "conversations", "alpaca"])
def test_a_key_that_changes_what_a_record_means_is_refused(key: str, form: str) -> None:
    record: dict[str, Any] = {
        "messages": openai([("user", "a"), ("assistant", "b")]),
        "conversations": {"conversations": [{"from": "human", "value": "a"}]},
        "alpaca": {"instruction": "a", "output": "b"},
    }[form]
    for value in (0, 1.5, False, [1], "x"):
        why = refused({**record, key: value})
        assert why.reason == "unknown key" and f'the key "{key}", which ' in why.detail
    assert dialogue_of({**record, key: None}) == dialogue_of(record)
    if key in TRAINING and key != "labels":
        with pytest.raises(Unusable, match=f'the key "{key}"'):
            text_of({"text": "a", key: 0.5})


ASKED = {"role": "user", "content": "a"}


def call(**function: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [{"type": "function", "function": function}]}


@pytest.mark.parametrize(
    ("record", "reason", "said"),
    [
        ({"a": 1, "b": "x"}, "missing key", 'no key "messages"; found keys "a", "b"'),
        ({"a": 1, "b": "x"}, "missing key", '{"a": 1, "b": "x"}'),
        (
            {"messages": [ASKED], "conversations": []},
            "not a dialogue",
            'the record has "messages" and "conversations", so it cannot be told which',
        ),
        (
            {"instruction": "a", "output": "b", "messages": []},
            "not a dialogue",
            '"messages" and "instruction"',
        ),
        ({"messages": None}, "not a dialogue", '"messages" is null'),
        ({"instruction": "a"}, "missing key", 'no key "output"'),
        ({"instruction": "a", "output": ["b", "c"]}, "not a string", '"output" is a list'),
        ({"conversations": [{"from": "narrator", "value": ""}]}, "unknown role", '"narrator"'),
        ({"conversations": [{"from": ["x"], "value": ""}]}, "unknown role", "a list"),
        ({"conversations": [{"from": "gpt"}]}, "missing key", 'no key "value"'),
        (
            {"conversations": [{"from": "gpt", "value": "a", "weight": 0}]},
            "unknown key",
            'message 1 has the key "weight"',
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "u"}]}]},
            "not a string",
            'part 1 of the content of message 1 is "image_url"',
        ),
        ({"messages": [{"role": "user", "content": [3]}]}, "not a string", "is a number"),
        ({"messages": [{"role": "user", "content": None}]}, "not a string", "is null"),
        ({"messages": [{**ASKED, "tool_call_id": "x"}]}, "unknown key", '"tool_call_id"'),
        ({"messages": [ASKED, call(name="f", arguments="{")]}, "malformed JSON", "call 1 of mess"),
        ({"messages": [ASKED, call(name="f", arguments="[1]")]}, "not an object", "are a list"),
        ({"messages": [ASKED, call(arguments="{}")]}, "not a string", "the name in call 1"),
        ({"messages": [ASKED, call(name="f", strict=True)]}, "unknown key", '"strict"'),
        (
            {"messages": [ASKED, call(name="f", arguments={"a": "\ud800"})]},
            "invalid Unicode",
            "lone surrogate",
        ),
        ({"messages": [ASKED], "tools": "[{"}, "malformed JSON", '"tools"'),
        ({"messages": [ASKED], "tools": {"a": 1}}, "not an object", '"tools" is an object'),
        ({"messages": [ASKED], "tools": [1]}, "not an object", 'tool 1 of "tools" is a number'),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(
    record: dict[str, Any], reason: str, said: str
) -> None:
    why = refused(record)
    assert why.reason == reason and said in why.detail


def test_a_call_has_its_arguments_as_an_object_however_they_are_written() -> None:
    arguments = {"city": "Köln", "days": 2}
    made = [
        dialogue_of({"messages": [ASKED, call(name="f", arguments=given_)]}).messages[1]
        for given_ in (arguments, json.dumps(arguments))
    ]
    function = {"name": "f", "arguments": arguments}
    calls = [{"type": "function", "function": function}]
    assert made == [{"role": "assistant", "content": None, "tool_calls": calls}] * 2
    empty = dialogue_of({"messages": [call(name="f", arguments="")]}).messages[0]
    assert empty["tool_calls"][0]["function"]["arguments"] == {}
    tools = [{"type": "function", "function": {"name": "f"}}]
    for given_ in (tools, json.dumps(tools)):
        assert dialogue_of({"messages": [ASKED], "tools": given_}).tools == tuple(tools)
