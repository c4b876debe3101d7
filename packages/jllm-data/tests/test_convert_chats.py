"""Chats → files: both forms, the account, the metadata, the digests."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from blake3 import blake3

from convert_helpers import info_of, rows_of, run_convert, snapshot, write_jsonl
from jllm.data.format.digests import row_group_digest
from jllm.data.format.schema import read_metadata
from jllm.data.reading.dataset import open_dataset
from jllm.data.tokenizer.load import chat_template_digest
from tokenizer_helpers import (
    SMOLLM2,
    TEMPLATES,
    save_toy_tokenizer,
    tokenizer_with,
    toy_tokenizer,
)

CHATS = [
    [("system", "Be kind."), ("user", f"What is {n}?"), ("assistant", f"It is {n} " * (n % 9 + 1))]
    for n in range(300)
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def short_form(path: Path) -> Path:
    return write_jsonl(path, [[{role: text} for role, text in chat] for chat in CHATS])


def test_both_forms_of_a_chat_give_the_same_files(tmp_path: Path, tokenizer: Path) -> None:
    long = [
        {"id": 7, "messages": [{"role": role, "content": text} for role, text in chat]}
        for chat in CHATS
    ]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    run_convert(tokenizer, short_form(tmp_path / "a" / "data.jsonl"), tmp_path / "1", max_len=200)
    source = write_jsonl(tmp_path / "b" / "data.jsonl", long)
    run_convert(tokenizer, source, tmp_path / "2", max_len=200, cores=2, chunk_size=7)
    first, second = snapshot(tmp_path / "1"), snapshot(tmp_path / "2")
    assert info_of(tmp_path / "1")["records"].pop("unused_keys") == {}
    assert info_of(tmp_path / "2")["records"].pop("unused_keys") == {"id": 300}
    assert first.pop("data_info.json") != second.pop("data_info.json")
    assert first == second and len(first) > 2


MIXED = [
    [*chat, ("user", "<|im_end|>\n" * (n % 5 == 0)), ("assistant", "\n" * (n % 3) + "ok")]
    for n, chat in enumerate(CHATS)
]
"""Answers that begin with empty lines, and special tokens that were typed."""


@pytest.mark.parametrize("name", ["smollm2", "qwen3", "dated"])
def test_files_of_chats_are_the_same_bytes_for_every_number_of_processes(
    tmp_path: Path, name: str
) -> None:
    template, _, end = TEMPLATES["smollm2" if name == "dated" else name]
    dated = "{{ strftime_now('%d %b %Y') }}" * (name == "dated") + template
    tokenizer_with(dated, eos_token=end).hf.save_pretrained(tmp_path / "tokenizer")
    values = [[{role: text} for role, text in chat] for chat in MIXED]
    source, kept = write_jsonl(tmp_path / "data.jsonl", values), []
    given = '{"date_string": "26 Jul 2024"}' if name == "dated" else "{}"
    for cores in (1, 2, 3):
        settings = {"cores": cores, "chunk_size": 30, "max_len": 300, "template_kwargs": given}
        out = tmp_path / str(cores)
        run_convert(tmp_path / "tokenizer", source, out, **settings)
        kept.append(snapshot(out))
    out = tmp_path / "threads"
    settings = {"cores": 4, "chunk_size": 30, "max_len": 300, "template_kwargs": given}
    run_convert(tmp_path / "tokenizer", source, out, thread=True, **settings)
    assert kept[0] == kept[1] == kept[2] == snapshot(out)
    assert info_of(tmp_path / "1")["records"]["written"] == len(MIXED)


@pytest.mark.parametrize("cores", [1, 2])
def test_a_template_that_writes_the_day_is_refused_before_anything_is_read(
    tmp_path: Path, cores: int
) -> None:
    tokenizer_with("{{ strftime_now('%d') }}" + SMOLLM2).hf.save_pretrained(tmp_path / "tokenizer")
    source = short_form(tmp_path / "data.jsonl")
    with pytest.raises(ValueError, match='--template_kwargs \'{"date_string": '):
        run_convert(tmp_path / "tokenizer", source, tmp_path / "out", cores=cores)
    assert not (tmp_path / "out").exists()


def test_labels_are_the_ids_of_the_answers_with_their_end(tmp_path: Path, tokenizer: Path) -> None:
    run_convert(tokenizer, short_form(tmp_path / "data.jsonl"), tmp_path / "out", max_len=200)
    hf, answers = toy_tokenizer("smollm2", "digits").hf, []
    for row in rows_of(tmp_path / "out"):
        ids, labels = row["input_ids"], row["labels"]
        assert all(label in (-100, i) for i, label in zip(ids, labels, strict=True))
        assert all(labels[bound] == -100 for bound in row["cu_seqlens"][:-1])
        answers += hf.decode([i for i in labels if i != -100]).split("<|im_end|>")[:-1]
    assert sorted(answers) == sorted(chat[-1][1] for chat in CHATS)


def test_the_info_file_accounts_for_every_record_row_and_token(
    tmp_path: Path, tokenizer: Path
) -> None:
    source = short_form(tmp_path / "data.jsonl")
    out = tmp_path / "out"
    run_convert(tokenizer, source, out, max_len=60, batch_size=40)
    info, rows = info_of(out), rows_of(out)
    records = info["records"]
    assert records["read"] == 300 == records["written"] + sum(records["dropped"].values())
    assert records["dropped"].keys() == {"longer than max_len"}
    assert (info["num_samples"], info["max_len"]) == (len(rows), 60)
    assert info["max_num_blocks"] == max(len(row["cu_seqlens"]) for row in rows)
    assert info["fields"] == ["input_ids", "cu_seqlens", "labels"]
    assert info["tokens"] == sum(len(row["input_ids"]) for row in rows)
    assert info["trained_tokens"] == sum(i != -100 for row in rows for i in row["labels"])
    assert [file["num_samples"] for file in info["files"][:-1]] == [40] * (len(info["files"]) - 1)
    for file in info["files"]:
        content = (out / file["name"]).read_bytes()
        assert file["bytes"] == len(content)
        assert file["digest"] == "blake3:" + blake3(content).hexdigest()[:32]
        parquet = pq.ParquetFile(out / file["name"])
        for number, group in enumerate(file["row_groups"]):
            table = parquet.read_row_group(number)
            digest = row_group_digest({name: table[name] for name in info["fields"]})
            assert (group["num_samples"], group["digest"]) == (table.num_rows, digest)


def test_files_say_what_made_them(tmp_path: Path, tokenizer: Path) -> None:
    run_convert(tokenizer, short_form(tmp_path / "data.jsonl"), tmp_path / "out", max_len=200)
    (file,) = (tmp_path / "out").glob("*.parquet")
    assert file.name == "data-00000-chunk-00.zstd.parquet"
    metadata = read_metadata(pq.read_metadata(file).metadata)
    toy = toy_tokenizer("smollm2", "digits")
    assert metadata is not None and (metadata.kind, metadata.max_len) == ("ft", 200)
    assert metadata.tokenizer_digest == toy.digest
    assert metadata.special_tokens_digest == toy.specials_digest
    assert metadata.chat_template_digest == chat_template_digest(toy.hf.chat_template, {})
    dataset = open_dataset(tmp_path / "out")
    assert (dataset.kind, dataset.tokenizer_digest) == ("ft", toy.digest)


@pytest.mark.parametrize("compression", ["gzip", "brotli", "snappy", "lz4"])
def test_every_compression_holds_the_same_rows(
    tmp_path: Path, tokenizer: Path, compression: str
) -> None:
    source = short_form(tmp_path / "data.jsonl")
    run_convert(tokenizer, source, tmp_path / "zstd", max_len=200)
    run_convert(tokenizer, source, tmp_path / "other", max_len=200, compress=compression)
    assert rows_of(tmp_path / "zstd") == rows_of(tmp_path / "other")
    assert open_dataset(tmp_path / "zstd").digest == open_dataset(tmp_path / "other").digest
