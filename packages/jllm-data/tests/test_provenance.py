"""Rows say where their documents came from, and training does not read it."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from convert_helpers import info_of, rows_of, run_convert, write_jsonl
from jllm.data.format.schema import PROVENANCE
from jllm.data.reading.dataset import Dataset, open_dataset
from jllm.data.reading.reader import LaneReader
from tokenizer_helpers import save_toy_tokenizer, toy_tokenizer

HF = toy_tokenizer("smollm2", "digits").hf


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def segments_of(output: Path) -> list[tuple[str, int, str]]:
    """(source, record, text) of every segment of every row."""
    found = []
    for row in rows_of(output):
        edges = [*row["cu_seqlens"][:-1], len(row["input_ids"])]
        assert len(row["records"]) == len(edges) - 1
        for record, start, stop in zip(row["records"], edges, edges[1:], strict=False):
            found.append((row["source"], record, HF.decode(row["input_ids"][start:stop])))
    return found


def test_chats_are_found_by_file_and_line(tmp_path: Path, tokenizer: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b"):
        lines = [json.dumps([{"user": f"{name} {n}?"}, {"assistant": "yes"}]) for n in range(90)]
        lines[7::9] = [""] * len(lines[7::9])
        lines[5] = "{"
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    settings = {"chunk_size": 8, "cores": 2, "max_len": 200, "on_error": "skip", "pad": True}
    run_convert(tokenizer, folder, tmp_path / "out", **settings)
    found = [one for one in segments_of(tmp_path / "out") if one[1] != -1]
    for source, line, text in found:
        name, number = source.removesuffix(".jsonl"), line - 1
        assert f"<|im_start|>user\n{name} {number}?<|im_end|>" in text
    used = [n + 1 for n in range(90) if n % 9 != 7 and n != 5]
    expected = [(f"{name}.jsonl", line) for name in ("a", "b") for line in used]
    assert sorted((source, line) for source, line, _ in found) == expected
    closing = {text.replace("<|im_end|>", "") for _, line, text in segments_of(tmp_path / "out")
               if line == -1}  # fmt: skip
    assert closing == {""}


@pytest.mark.parametrize("stack", [True, False])
def test_text_is_found_by_file_and_number_of_the_document(
    tmp_path: Path, tokenizer: Path, stack: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every piece of a document that is cut says the document's number."""
    texts = [f"{n} " + " ".join(f"x{n}y" for _ in range(n % 25)) for n in range(120)]
    (tmp_path / "data.txt").write_text("\n\n\n".join(texts))
    monkeypatch.setattr("jllm.data.records.splits.SPLIT_BYTES", 500)
    settings = {"type": "pretrain", "stack": stack, "max_len": 33, "num_lines_per_partition": 50}
    run_convert(tokenizer, tmp_path / "data.txt", tmp_path / "out", **settings)
    seen = set()
    for row in rows_of(tmp_path / "out"):
        assert row["source"] == "data.txt"
        bounds = row["cu_seqlens"]
        for record, start, stop in zip(row["records"], bounds, bounds[1:], strict=False):
            piece = row["input_ids"][start:stop]
            if record == -1:
                assert set(piece) == {HF.eos_token_id}
                continue
            seen.add(record)
            ids = HF(texts[record - 1])["input_ids"] + [HF.eos_token_id]
            assert any(ids[at : at + len(piece)] == piece for at in range(len(ids)))
    assert seen == set(range(1, 121))


def read_all(dataset: Dataset) -> list[np.ndarray]:
    with LaneReader(
        dataset, seed=0, global_batch_size=1, lanes=range(1), shuffle=False, read_ahead=False
    ) as reader:
        batches = [reader.read(step) for step in range(dataset.num_rows)]
    return [array for batch in batches for array in (batch.tokens, batch.targets, *batch.bounds)]


def converted(tmp_path: Path, tokenizer: Path) -> Path:
    chats = [[{"user": f"{n}?"}, {"assistant": f"{n}" * 9}] for n in range(60)]
    source = write_jsonl(tmp_path / "data.jsonl", chats)
    run_convert(tokenizer, source, tmp_path / "out", max_len=200)
    return tmp_path / "out"


def test_training_does_not_read_where_rows_came_from(tmp_path: Path, tokenizer: Path) -> None:
    """Every byte of these columns is overwritten, and nothing notices."""
    out = converted(tmp_path, tokenizer)
    dataset = open_dataset(out)
    assert not set(dataset.fields) & set(PROVENANCE)
    expected = read_all(dataset)
    (file,) = out.glob("*.parquet")
    content, footer = bytearray(file.read_bytes()), pq.read_metadata(file)
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            column = footer.row_group(group).column(number)
            if column.path_in_schema.split(".")[0] in PROVENANCE:
                start = column.dictionary_page_offset or column.data_page_offset
                size = column.total_compressed_size
                content[start : start + size] = b"\xff" * size
    file.write_bytes(content)
    with pytest.raises(OSError):
        pq.read_table(file, columns=list(PROVENANCE))
    for ours, theirs in zip(read_all(dataset), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_files_without_these_columns_are_the_same_data_set(tmp_path: Path, tokenizer: Path) -> None:
    """Files written by other tools: no provenance, no digests of files, no tokenizer."""
    out = converted(tmp_path, tokenizer)
    before, old = open_dataset(out), tmp_path / "old"
    old.mkdir()
    (file,) = out.glob("*.parquet")
    table = pq.read_table(file, columns=["input_ids", "cu_seqlens", "labels"])
    pq.write_table(table, old / file.name, row_group_size=256)
    info = info_of(out)
    del info["files"][0]["bytes"], info["files"][0]["digest"]
    (old / "data_info.json").write_text(json.dumps(info))
    after = open_dataset(old)
    assert after.digest == before.digest
    for ours, theirs in zip(read_all(after), read_all(before), strict=True):
        np.testing.assert_array_equal(ours, theirs)
