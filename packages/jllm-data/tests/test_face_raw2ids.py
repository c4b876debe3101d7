"""`jllm.data.raw2ids` does what the command does, in silence, and returns an account."""

import dataclasses
import inspect
import io
import os

import pytest
from rich.console import Console

import jllm.data as jd
from convert_helpers import snapshot, write_jsonl
from jllm.data.convert.config import Raw2IdsConfig
from jllm.raw2ids import main
from tokenizer_helpers import save_toy_tokenizer

CHATS = [[{"user": f"say {n}"}, {"assistant": f"it is {n}"}] for n in range(40)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return save_toy_tokenizer(tmp_path_factory.mktemp("tokenizer") / "toy")


@pytest.fixture(scope="module")
def chats(tmp_path_factory):
    return write_jsonl(tmp_path_factory.mktemp("in") / "chats.jsonl", [*CHATS, "no chat"])


def test_the_files_are_those_of_the_command(tokenizer, chats, tmp_path, capfd):
    told = ["--max_len", "65", "--on_error", "skip", "--tokenizer", str(tokenizer)]
    assert main([*told, "-i", str(chats), "-o", str(tmp_path / "command")]) == 0
    capfd.readouterr()
    environment = dict(os.environ)
    made = jd.raw2ids(
        chats, tmp_path / "function", tokenizer=tokenizer, max_len=65, on_error="skip"
    )
    assert capfd.readouterr() == ("", "")
    assert dict(os.environ) == environment
    assert snapshot(tmp_path / "function") == snapshot(tmp_path / "command")
    assert (made.records, made.written, sum(made.dropped.values())) == (41, 40, 1)
    assert made.output == tmp_path / "function"
    assert made.rows == jd.open_dataset(made.output).num_rows
    assert 0 < made.trained_tokens < made.tokens and 0 < made.fill <= 1


def test_the_account_prints_itself(tokenizer, chats, tmp_path):
    made = jd.raw2ids(chats, tmp_path / "ids", tokenizer=tokenizer, on_error="skip", cores=1)
    (reason,) = made.dropped
    for part in ("chats.jsonl", f"{made.tokens:,}", f"{made.fill:.2%}", reason, str(made.output)):
        assert part in str(made)
    assert repr(made) == str(made) == str(made).strip()
    assert made._repr_html_().startswith("<pre>") and "&" not in str(made)


def test_progress_is_shown_where_a_console_is_given(tokenizer, chats, tmp_path):
    text = io.StringIO()
    jd.raw2ids(chats, tmp_path, tokenizer=tokenizer, on_error="skip",
               console=Console(file=text, width=200))  # fmt: skip
    assert "chats.jsonl" in text.getvalue()


def test_options_of_the_template_may_be_a_dict(tokenizer, chats, tmp_path):
    options = {"enable_thinking": False}
    jd.raw2ids(chats, tmp_path / "a", tokenizer=tokenizer, on_error="skip", template_kwargs=options)
    jd.raw2ids(
        chats,
        tmp_path / "b",
        tokenizer=tokenizer,
        on_error="skip",
        template_kwargs='{"enable_thinking": false}',
    )
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")
    with pytest.raises(ValueError, match="template_kwargs"):
        jd.raw2ids(chats, tmp_path, tokenizer=tokenizer, template_kwargs={"a": object()})


def test_the_signature_shows_every_setting_of_the_command():
    shown = inspect.signature(jd.raw2ids).parameters
    for field in dataclasses.fields(Raw2IdsConfig):
        if field.name != "tokenizer" and field.default is not dataclasses.MISSING:
            assert shown[field.name].default == field.default
    assert set(shown) == {field.name for field in dataclasses.fields(Raw2IdsConfig)} | {"console"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_len": 1}, "^max_len 1: expected 2"),
        ({"max_len": "65"}, "^max_len is '65', expected a whole number"),
        ({"max_len": 65.0}, "^max_len is 65.0, expected a whole number"),
        ({"max_lem": 65}, "^max_lem: no such keyword; did you mean max_len"),
        ({"on_error": "ignore"}, "^on_error is 'ignore', expected one of 'stop', 'skip'"),
        ({"type": "chat"}, "^type chat: expected ft"),
        ({"stack": 1}, "^stack is 1, expected True or False"),
        ({"tokenizer": "nowhere"}, "nowhere"),
    ],
)
def test_a_wrong_setting_is_named_as_a_keyword(tokenizer, chats, tmp_path, settings, words):
    with pytest.raises(ValueError, match=words) as caught:
        jd.raw2ids(chats, tmp_path / "ids", **({"tokenizer": tokenizer} | settings))
    assert "--max_len" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_wrong_record_is_named_by_file_and_line(tokenizer, chats, tmp_path):
    with pytest.raises(ValueError, match=r"chats\.jsonl:41"):
        jd.raw2ids(chats, tmp_path, tokenizer=tokenizer)
