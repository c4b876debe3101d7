"""`python -m jllm.generate` writes text as it is made, and says mistakes in one line."""

import io
import re
import subprocess
import sys

import pytest

from generation_helpers import byte_tokenizer, write_chat_model
from jllm.models.families import read_config
from jllm.models.generation.answer import answer
from jllm.models.generation.command import run
from jllm.models.generation.decoder import Decoder
from jllm.models.generation.options import Sampling
from jllm.models.generation.text_stream import stream_text
from jllm.models.generation.tokenizer import load_tokenizer
from jllm.models.generation.write import write
from tiny_model_helpers import loaded_stage


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    write_chat_model(path)
    return path


@pytest.fixture
def told(directory, capsys):
    def tell(*flags, model=directory):
        code = run(["--model", str(model), "--max_new_tokens", "12", *flags])
        out, err = capsys.readouterr()
        return code, out, err

    return tell


def expected(directory, prompt, sampling=Sampling()):  # noqa: B008
    """Return the text of an answer, at once."""
    decoder = Decoder(loaded_stage(directory))
    ids = answer(decoder, prompt, sampling, max_new_tokens=12, stop=frozenset({256}))
    return byte_tokenizer().decode(list(ids), skip_special_tokens=True) + "\n"


def test_the_command_answers_in_a_process_of_its_own(directory):
    found = subprocess.run(
        [sys.executable, "-m", "jllm.generate", "--model", directory, "--prompt", "Hé"]
        + ["--no_chat", "--max_new_tokens", "12"],
        capture_output=True,
        check=True,
    )
    ids = byte_tokenizer()("Hé")["input_ids"]
    assert found.stdout.decode() == expected(directory, ids)
    assert re.fullmatch(
        r"\d+ tokens, ended by .*; prompt of 3 tokens in [\d.]+ s, then [\d.]+ tokens/s\n",
        found.stderr.decode(),
    )


def test_a_prompt_is_a_chat_where_there_is_a_template(directory, told):
    ids = byte_tokenizer()("<user>Hi<model>")["input_ids"]
    assert len(ids) == 4
    assert told("--prompt", "Hi")[1] == told("--prompt", "Hi", "--chat")[1]
    assert told("--prompt", "Hi")[1] == expected(directory, ids)
    raw = byte_tokenizer()("Hi")["input_ids"]
    assert told("--prompt", "Hi", "--no_chat")[1] == expected(directory, raw)


def test_without_a_template_a_prompt_is_text(tmp_path, told):
    write_chat_model(tmp_path, template=None)
    raw = byte_tokenizer()("Hi")["input_ids"]
    assert told("--prompt", "Hi", model=tmp_path)[1] == expected(tmp_path, raw)
    code, _, error = told("--prompt", "Hi", "--chat", model=tmp_path)
    assert code == 2 and "--chat" in error and "--no_chat" in error


def test_drawn_text_is_a_function_of_the_seed(directory, told):
    flags = ("--prompt", "Hi", "--no_chat", "--temperature", "1.5", "--top_k", "40")
    texts = [told(*flags, "--seed", seed)[1] for seed in ("1", "1", "2")]
    assert texts[0] == texts[1] != texts[2]
    sampling = Sampling(temperature=1.5, top_k=40, seed=1)
    assert texts[0] == expected(directory, byte_tokenizer()("Hi")["input_ids"], sampling)


def test_pieces_of_text_add_up_and_no_character_is_cut():
    tokenizer = byte_tokenizer()
    text = "naïve 東京 🙂 end"
    ids = tokenizer(text)["input_ids"]
    pieces = list(stream_text(ids, tokenizer.decode, tokenizer("prompt é")["input_ids"]))
    assert "".join(pieces) == text and "🙂" in pieces
    assert "".join(stream_text(ids[:7] + ids[7:9], tokenizer.decode)).startswith("naïve ")
    cut = "".join(stream_text(tokenizer("é")["input_ids"][:1], tokenizer.decode))
    assert cut == "\ufffd"


def test_help_teaches(capsys):
    with pytest.raises(SystemExit, match="0"):
        run(["--help"])
    shown = capsys.readouterr().out
    for flag in ("--temperature", "--top_p", "--top_k", "--seed", "--max_new_tokens", "--no_chat"):
        assert flag in shown
    assert "python -m jllm.generate --model" in shown


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--prompt", ""), ("--prompt",)),
        (("--prompt", "x", "--top_p", "0.5"), ("--temperature",)),
        (("--prompt", "x", "--temperature", "-1"), ("--temperature", "-1")),
        (("--prompt", "x", "--max_new_tokens", "0"), ("--max_new_tokens", "0")),
        (("--prompt", "x", "--device", "nowhere"), ("--device", "nowhere")),
        (("--prompt", "x", "--model", "missing"), ("missing", "config.json")),
    ],
)
def test_mistakes_are_one_line_that_names_the_flag(told, flags, words):
    code, out, error = told("--no_chat", *flags)
    assert (code, out) == (2, "")
    assert error.startswith("error: ") and error.count("\n") == 1
    assert all(word in error for word in words), error


def test_a_directory_without_a_tokenizer_is_one_line(directory, tmp_path, told):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(directory / name)
    code, _, error = told("--prompt", "x", model=tmp_path)
    assert code == 2 and "no tokenizer" in error and "tokenizer.json" in error
    assert error.count("\n") == 1


def test_a_tokenizer_of_another_model_is_refused(directory, tmp_path, told):
    write_chat_model(tmp_path)
    values = (tmp_path / "config.json").read_text().replace('"vocab_size": 259', '"vocab_size": 50')
    (tmp_path / "config.json").write_text(values)
    assert read_config(tmp_path).vocab_size == 50
    code, _, error = told("--prompt", "xyz", model=tmp_path)
    assert code == 2 and "different models" in error


def test_absent_transformers_is_one_sentence_with_the_extra(directory, monkeypatch, told):
    monkeypatch.setitem(sys.modules, "transformers", None)
    code, _, error = told("--prompt", "x")
    assert code == 2 and "pip install 'jllm-models[generate]'" in error
    with pytest.raises(ValueError, match="transformers"):
        load_tokenizer(directory)


def test_text_is_written_as_it_is_made(directory):
    flushed = []

    class Stream(io.StringIO):
        def flush(self):
            flushed.append(self.getvalue())

    stream, config = Stream(), read_config(directory)
    options = {"max_new_tokens": 12, "chat": None, "dtype": "float32", "device": "cpu"}
    write(directory, config, "Hi", Sampling(), stream=stream, **options)
    assert len(set(flushed)) > 3
