"""Data made with another tokenizer than a model's are found out, and the difference is shown."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convert_helpers import run_convert, write_jsonl
from jllm.data.reading.dataset import Dataset, open_dataset
from jllm.data.tokenizer.load import load_tokenizer
from jllm.data.tools.verify import tokenizer_match
from jllm.data.tools.verify.tokenizer_match import Verdict, check_contract
from tokenizer_helpers import save_toy_tokenizer

CHATS = [[{"user": f"{n} and 4711?"}, {"assistant": "they're 12 345"}] for n in range(9)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory: a tokenizer that takes digits one by one, and a config."""
    folder = save_toy_tokenizer(tmp_path_factory.mktemp("contract") / "model")
    (folder / "config.json").write_text('{"model_type": "llama", "dtype": "float32"}')
    return folder


@pytest.fixture(scope="module")
def output(model: Path) -> Path:
    source = write_jsonl(model.parent / "data.jsonl", CHATS)
    run_convert(model, source, model.parent / "out", max_len=200)
    return model.parent / "out"


@pytest.fixture(scope="module")
def data(output: Path) -> Dataset:
    return open_dataset(str(output))


def check(data: Dataset, folder: Path) -> Verdict:
    return check_contract(data, folder, data_name="--train_data", model_name="--model")


def changed(model: Path, folder: Path, change: Callable[[dict[str, Any]], Any], name: str) -> Path:
    """A copy of a model directory, one JSON file of which is changed."""
    shutil.copytree(model, folder)
    value = json.loads((folder / name).read_text())
    change(value)
    (folder / name).write_text(json.dumps(value))
    return folder


def test_the_same_files_are_not_even_loaded(
    data: Dataset, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(name: str) -> None:
        raise AssertionError(f"{name} is loaded")

    monkeypatch.setattr(tokenizer_match, "load_tokenizer", loaded)
    assert check(data, model) == Verdict()
    shutil.copytree(model, tmp_path / "trained")
    (tmp_path / "trained/config.json").write_text('{"model_type": "llama", "dtype": "bfloat16"}')
    assert check(data, tmp_path / "trained") == Verdict()


def test_the_same_tokenizer_in_other_files_is_the_same(
    data: Dataset, model: Path, tmp_path: Path
) -> None:
    load_tokenizer(str(model)).hf.save_pretrained(tmp_path / "saved")
    change = changed(model, tmp_path / "spaced", lambda value: value, "tokenizer.json")
    assert (change / "tokenizer.json").read_bytes() != (model / "tokenizer.json").read_bytes()
    for folder in (tmp_path / "saved", change):
        assert check(data, folder) == Verdict()


def test_the_first_text_with_other_ids_is_shown_side_by_side(
    data: Dataset, output: Path, tmp_path: Path
) -> None:
    """A row of the data itself, for the other tokenizer takes several digits at once."""
    other = save_toy_tokenizer(tmp_path / "other", style="gpt2")
    verdict = check(data, other)
    assert verdict.problem == (
        f"--train_data {output} was made with another tokenizer than that of --model {other}"
    )
    lines = "\n".join(verdict.comparison)
    one, two = (load_tokenizer(str(folder)) for folder in (output / "tokenizer", other))
    ids = data_ids(output)
    again = two.hf(one.hf.decode(ids))["input_ids"]
    at = next(n for n, (a, b) in enumerate(zip(ids, again, strict=False)) if a != b)
    assert f"row 0 of {data.row_groups[0].file}, row group 0" in lines
    assert f"{at} tokens are the same, then:" in lines
    (marked,) = (line.split() for line in verdict.comparison if line.startswith("→"))
    assert marked[0] == "→" and marked[1] == str(ids[at])
    assert marked[marked.index("|") + 1] == str(again[at])
    assert str(output / "tokenizer") in lines and str(other) in lines


def data_ids(output: Path) -> list[int]:
    import pyarrow.parquet as pq

    (file,) = output.glob("*.parquet")
    return pq.read_table(file)["input_ids"][0].as_py()


def test_a_tokenizer_that_only_differs_in_rare_texts_is_found_by_the_samples(
    data: Dataset, model: Path, tmp_path: Path
) -> None:
    def lower(value: dict[str, Any]) -> None:
        value["normalizer"] = {"type": "Replace", "pattern": {"String": "µ"}, "content": "m"}

    verdict = check(data, changed(model, tmp_path / "m", lower, "tokenizer.json"))
    assert "another tokenizer than" in verdict.problem
    assert any("the sample 'def f(x)" in line for line in verdict.comparison)


def test_a_vocabulary_that_differs_where_no_sample_goes_is_named(
    data: Dataset, model: Path, tmp_path: Path
) -> None:
    def rename(value: dict[str, Any]) -> None:
        value["added_tokens"].append({**value["added_tokens"][-1], "id": 9999, "content": "qqq"})

    verdict = check(data, changed(model, tmp_path / "m", rename, "tokenizer.json"))
    assert "is None of data, 'qqq' of model" in verdict.comparison[-1]


def test_only_the_special_tokens_differ(data: Dataset, model: Path, tmp_path: Path) -> None:
    def end(value: dict[str, Any]) -> None:
        value["eos_token"] = "<|eot_id|>"

    other = changed(model, tmp_path / "m", end, "tokenizer_config.json")
    verdict = check(data, other)
    ids = [load_tokenizer(str(folder)).hf.eos_token_id for folder in (model, other)]
    assert "another special tokens" not in verdict.problem
    assert f"with other special tokens than those of --model {other}" in verdict.problem
    assert verdict.comparison[-1] == f"end of text: data {ids[0]}, model {ids[1]}"


def test_only_the_template_differs(data: Dataset, model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "m")
    file = tmp_path / "m" / "chat_template.jinja"
    file.write_text(file.read_text().replace("named SmolLM", "named Clippy"))
    verdict = check(data, tmp_path / "m")
    assert "another chat template than that of" in verdict.problem
    assert "a dialogue (user) is rendered otherwise:" in verdict.comparison
    assert verdict.comparison[-2].split()[:2] == ["data", "'SmolLM,"]
    assert verdict.comparison[-1].split()[:2] == ["model", "'Clippy,"]


def test_template_variables_are_no_difference(model: Path, tmp_path: Path) -> None:
    """And text for pre-training does not care about templates at all."""
    load_tokenizer(str(model)).hf.save_pretrained(tmp_path / "saved")
    source = write_jsonl(tmp_path / "data.jsonl", CHATS)
    run_convert(model, source, tmp_path / "out", max_len=200, template_kwargs='{"a": 1}')
    again = tmp_path / "saved" / "tokenizer.json"
    again.write_text(again.read_text() + "\n")
    assert check(open_dataset(str(tmp_path / "out")), tmp_path / "saved") == Verdict()
    text = write_jsonl(tmp_path / "text.jsonl", [{"text": "a b"}])
    run_convert(model, text, tmp_path / "text", type="pretrain")
    (tmp_path / "saved" / "chat_template.jinja").write_text("{{ 1 }}")
    assert check(open_dataset(str(tmp_path / "text")), tmp_path / "saved") == Verdict()


def test_what_cannot_be_compared_is_said(data: Dataset, model: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    verdict = check(data, tmp_path / "bare")
    assert "holds no tokenizer" in verdict.note and not verdict.problem
    (tmp_path / "bare" / "tokenizer.json").write_text("{}")
    assert "cannot be compared" in check(data, tmp_path / "bare").problem


def test_data_by_others_are_only_noted(model: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = pa.array([[1, 2, 3]], pa.list_(pa.int32()))
    pq.write_table(pa.table({"input_ids": ids}), tmp_path / "a.parquet")
    info = {"num_samples": 1, "max_len": 3, "max_num_blocks": 2, "fields": ["input_ids"]}
    (tmp_path / "data_info.json").write_text(json.dumps(info))
    verdict = check(open_dataset(str(tmp_path)), model)
    assert "does not say which tokenizer" in verdict.note and not verdict.problem


def test_without_the_kept_tokenizer_digests_alone_decide(
    output: Path, model: Path, tmp_path: Path
) -> None:
    shutil.copytree(output, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "tokenizer")
    data = open_dataset(str(tmp_path / "out"))
    assert check(data, model) == Verdict()
    verdict = check(data, save_toy_tokenizer(tmp_path / "other", style="gpt2"))
    assert "another tokenizer than" in verdict.problem
    assert verdict.comparison[0].endswith("is not there, so only the digests differ")


@pytest.mark.parametrize("text", ["no JSON", "{}"])
def test_damaged_digests_of_the_kept_files_are_not_relied_on(
    output: Path, model: Path, tmp_path: Path, text: str
) -> None:
    shutil.copytree(output, tmp_path / "out")
    (tmp_path / "out" / "tokenizer" / "digests.json").write_text(text)
    assert check(open_dataset(str(tmp_path / "out")), model) == Verdict()


def test_a_folder_of_another_tokenizer_beside_the_rows_is_not_believed(
    output: Path, tmp_path: Path
) -> None:
    """Its files are the model's, but the rows name another one."""
    other = save_toy_tokenizer(tmp_path / "other", style="gpt2")
    source = write_jsonl(tmp_path / "data.jsonl", CHATS)
    run_convert(other, source, tmp_path / "foreign", max_len=200)
    shutil.copytree(output, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "tokenizer")
    shutil.copytree(tmp_path / "foreign" / "tokenizer", tmp_path / "out" / "tokenizer")
    verdict = check(open_dataset(str(tmp_path / "out")), other)
    assert "jllm.verify_data" in verdict.note


def test_a_tokenizer_kept_behind_a_url_is_compared(
    output: Path, model: Path, tmp_path: Path
) -> None:
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").put(str(output), "/contract", recursive=True)
    data = open_dataset("memory://contract")
    assert check(data, model) == Verdict()
    verdict = check(data, save_toy_tokenizer(tmp_path / "other", style="gpt2"))
    assert any(line.startswith("→") for line in verdict.comparison)
