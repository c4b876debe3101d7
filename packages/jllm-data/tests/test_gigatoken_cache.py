"""Code points that were tried before are not tried again; those that were not are."""

from pathlib import Path

import numpy as np
import pytest

from convert_helpers import run_convert, snapshot, write_jsonl
from jllm.data.tokenizer import gigatoken
from jllm.data.tokenizer.encoder import make_encoder
from jllm.data.tokenizer.gigatoken import SAFE, UNSAFE, GigatokenEncoder
from jllm.data.tokenizer.load import TextTokenizer
from jllm.data.tokenizer.pretokenizer_parity import Trial
from tokenizer_helpers import save_toy_tokenizer, toy_tokenizer

TOKENIZER = toy_tokenizer("smollm2", "digits")
TEXT = "Être 中文 ٣²"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "jllm" / "gigatoken"


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The characters that are tried."""
    characters: list[str] = []
    agree = Trial.agree

    def noted(self: Trial, points: list[int]) -> list[bool]:
        characters.extend(map(chr, points))
        return agree(self, points)

    monkeypatch.setattr(Trial, "agree", noted)
    return characters


def learnt(*texts: str, cached: bool = True) -> GigatokenEncoder:
    fast = GigatokenEncoder(TOKENIZER, cached=cached)
    fast.suited(texts)
    return fast


def test_a_code_point_is_tried_once(tried: list[str]) -> None:
    learnt(TEXT).remember()
    assert {*TEXT} < {*tried} and len(tried) == len({*tried}) >= 128
    verdicts = learnt(TEXT, cached=False)._verdicts
    tried.clear()
    again = learnt(TEXT, "ж")
    assert tried == ["ж"]
    kept = np.delete(again._verdicts, ord("ж"))
    assert np.array_equal(kept, np.delete(verdicts, ord("ж")))
    assert {SAFE, UNSAFE} <= {*kept.tolist()}
    assert again.suited([TEXT, "Être 中文", "٣"]).tolist() == [False, True, False]
    again.remember()
    tried.clear()
    assert learnt("ж").encode("ж").tolist() == TOKENIZER.core.encode("ж").ids and not tried


def test_nothing_is_kept_where_nothing_is_new_or_nobody_asked(cache: Path) -> None:
    learnt(TEXT, cached=False).remember()
    assert not cache.exists()
    learnt(TEXT).remember()
    (entry,) = cache.iterdir()
    entry.unlink()
    again = GigatokenEncoder(TOKENIZER, cached=True)
    again.remember()
    entry.unlink()
    again.remember()
    assert not entry.exists()


@pytest.mark.parametrize("what", ["version_of", "code_digest", "tokenizer"])
def test_verdicts_are_of_one_tokenizer_and_of_versions(
    tried: list[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    learnt(TEXT).remember()
    tried.clear()
    other: TextTokenizer = TOKENIZER
    if what == "tokenizer":
        other = toy_tokenizer("smollm2", "gpt2")
    else:
        monkeypatch.setattr(gigatoken, what, lambda *_: "another")
    GigatokenEncoder(other, cached=True)
    assert len(tried) == 128


def test_what_processes_found_out_is_kept(tmp_path: Path, tried: list[str]) -> None:
    model = save_toy_tokenizer(tmp_path / "model")
    source = write_jsonl(tmp_path / "data.jsonl", [{"text": TEXT}] * 30)
    run_convert(model, source, tmp_path / "out", type="pretrain", cores=2, chunk_size=5)
    tried.clear()
    run_convert(model, source, tmp_path / "again", type="pretrain")
    assert not tried
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "again")


def test_a_tokenizer_that_gigatoken_cannot_take_leaves_nothing(cache: Path) -> None:
    phrases = toy_tokenizer("smollm2")
    encoder, why_slow = make_encoder(phrases, allow_fast=False, cached=True)
    encoder.remember()
    assert encoder.fast is None and why_slow and not cache.exists()
