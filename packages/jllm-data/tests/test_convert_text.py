"""Text → rows: nothing lost, nothing doubled, the same for every number of processes."""

import random
from pathlib import Path

import pytest

from convert_helpers import documents_in, info_of, rows_of, run_convert, snapshot, write_jsonl
from jllm.data.reading.dataset import open_dataset
from jllm.data.reading.reader import LaneReader
from tokenizer_helpers import save_toy_tokenizer, toy_tokenizer

TEXTS = [
    " ".join(random.Random(n).choices(["for", "message", "é中", "12", "\n", "x"], k=n % 60 + 1))
    for n in range(400)
]
TEXTS = [text for text in TEXTS if text.strip()]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def ids_of(text: str) -> list[int]:
    """A document: the text's ids and the document end."""
    hf = toy_tokenizer("smollm2", "digits").hf
    return [*hf(text, add_special_tokens=False)["input_ids"], hf.eos_token_id]


@pytest.mark.parametrize("settings", [{"stack": True}, {}, {"num_lines_per_partition": 70}])
def test_files_are_the_same_bytes_for_every_number_of_processes(
    tmp_path: Path, tokenizer: Path, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_jsonl(tmp_path / "data.jsonl", [{"text": text} for text in TEXTS])
    monkeypatch.setattr("jllm.data.records.splits.SPLIT_BYTES", 2000)
    kept = []
    for cores in (1, 2, 3):
        out = tmp_path / str(cores)
        run_convert(tokenizer, source, out, type="pretrain", cores=cores, chunk_size=30, **settings)
        kept.append(snapshot(out))
    out = tmp_path / "threads"
    settings = {"type": "pretrain", "cores": 3, "thread": True, "chunk_size": 30, **settings}
    run_convert(tokenizer, source, out, **settings)
    assert kept[0] == kept[1] == kept[2] == snapshot(out)
    assert sum(name.endswith(".parquet") for name in kept[0]) == (
        6 if "num_lines_per_partition" in settings else 1
    )


def test_packed_rows_hold_every_document_once(tmp_path: Path, tokenizer: Path) -> None:
    source = write_jsonl(tmp_path / "data.jsonl", [{"text": text} for text in TEXTS])
    run_convert(tokenizer, source, tmp_path / "out", type="pretrain", max_len=400)
    rows = rows_of(tmp_path / "out")
    assert all(len(row["input_ids"]) <= 400 for row in rows)
    assert all(row["cu_seqlens"][-1] == len(row["input_ids"]) - 1 for row in rows)
    assert sorted(documents_in(rows)) == sorted(ids_of(text) for text in TEXTS)


def test_stacked_rows_are_the_documents_in_their_order(tmp_path: Path, tokenizer: Path) -> None:
    source = write_jsonl(tmp_path / "data.jsonl", [{"text": text} for text in TEXTS])
    run_convert(tokenizer, source, tmp_path / "out", type="pretrain", stack=True, max_len=17)
    pairs = [
        pair
        for row in rows_of(tmp_path / "out")
        for pair in zip(row["input_ids"], row["input_ids"][1:], strict=False)
    ]
    end = toy_tokenizer("smollm2", "digits").document_end_id
    expected = [
        pair for text in TEXTS for pair in zip(ids_of(text), ids_of(text)[1:], strict=False)
    ]
    assert [pair for pair in pairs if pair[0] != end] == expected


def test_long_documents_are_cut_into_pieces_that_overlap_by_one_id(
    tmp_path: Path, tokenizer: Path
) -> None:
    text = " ".join(f"message {n}" for n in range(100))
    source = write_jsonl(tmp_path / "data.jsonl", [{"text": text}, {"text": "short"}])
    run_convert(tokenizer, source, tmp_path / "out", type="pretrain", max_len=20)
    pieces = [d for d in documents_in(rows_of(tmp_path / "out")) if d != ids_of("short")]
    start = [piece for piece in pieces if piece[:5] == ids_of(text)[:5]]
    joined = [*start[0]]
    rest = [piece for piece in pieces if piece is not start[0]]
    while rest:
        joined += next(piece for piece in rest if piece[0] == joined[-1])[1:]
        rest.remove(
            next(piece for piece in rest if piece[-len(piece) + 1 :] == joined[1 - len(piece) :])
        )
    assert joined == ids_of(text)
    info = info_of(tmp_path / "out")
    assert info["tokens"] == len(ids_of(text)) + len(ids_of("short"))
    assert info["trained_tokens"] == info["tokens"] - 2


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_blank_lines_divide_documents_wherever_units_are_cut(
    tmp_path: Path, tokenizer: Path, newline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["one\ntwo", "  three", "\n\nfour\n\n\n", "five\n \nsix", "sev\u00a0en"] * 30
    raw = "\n\n".join(texts).replace("\n", newline)
    (tmp_path / "data.txt").write_bytes(b"\xef\xbb\xbf" + raw.encode())
    expected = [ids_of(text.strip("\n")) for text in texts]
    for size in (1, 7, 10_000):
        monkeypatch.setattr("jllm.data.records.splits.SPLIT_BYTES", size)
        out = tmp_path / str(size)
        run_convert(tokenizer, tmp_path / "data.txt", out, type="pretrain", chunk_size=size)
        assert sorted(documents_in(rows_of(out))) == sorted(expected)
        assert info_of(out)["records"]["read"] == len(texts)
    assert snapshot(tmp_path / "1").keys() == snapshot(tmp_path / "7").keys()


def test_a_folder_becomes_one_data_set_that_the_reader_agrees_with(
    tmp_path: Path, tokenizer: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_jsonl(folder / "a.jsonl", [{"text": text} for text in TEXTS[:200]])
    (folder / "b.txt").write_text("\n\n".join(text.replace("\n", " ") for text in TEXTS[200:]))
    (folder / "notes.md").write_text("not read")
    converted = run_convert(tokenizer, folder, tmp_path / "out", type="pretrain", stack=True)
    assert [one.source.path.name for one in converted] == ["a.jsonl", "b.txt"]
    dataset = open_dataset(tmp_path / "out")
    assert dataset.num_rows == sum(one.rows for one in converted)
    trained = 0
    with LaneReader(dataset, seed=0, global_batch_size=1, lanes=range(1), shuffle=False) as reader:
        for step in range(dataset.num_rows):
            trained += int((reader.read(step).targets != -100).sum())
    assert trained == sum(one.account.trained_tokens for one in converted)


def test_padded_rows_are_as_long_as_max_len_and_mean_the_same(
    tmp_path: Path, tokenizer: Path
) -> None:
    chats = [[{"user": f"say {text[:9]}"}, {"assistant": text}] for text in TEXTS[:100]]
    source = write_jsonl(tmp_path / "data.jsonl", chats)
    plain = run_convert(tokenizer, source, tmp_path / "plain", max_len=300)
    run_convert(tokenizer, source, tmp_path / "padded", max_len=300, pad=True)
    for row in rows_of(tmp_path / "padded"):
        bounds = row["cu_seqlens"]
        assert len(row["input_ids"]) == len(row["labels"]) == 300 == bounds[-1] + 1
        assert all(a < b for a, b in zip(bounds, bounds[1:], strict=False))
    targets = []
    for name in ("plain", "padded"):
        dataset = open_dataset(tmp_path / name)
        with LaneReader(
            dataset, seed=0, global_batch_size=1, lanes=range(1), shuffle=False
        ) as reader:
            batches = [reader.read(step) for step in range(dataset.num_rows)]
        targets.append([batch.targets.tolist() for batch in batches])
    assert targets[0] == targets[1] and plain[0].rows == len(targets[0])
