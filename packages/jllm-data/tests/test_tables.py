"""Parquet and Arrow files with the columns of the JSON forms: the same rows, in bounded memory."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert_helpers import info_of, rows_of, run_convert, snapshot, write_jsonl
from jllm.data.convert.count_records import BadRecord
from jllm.data.records.input_files import find_sources
from jllm.data.records.splits import InputSplit, cut_splits
from jllm.data.records.tables import cut_rows
from jllm.data.records.tables import rows_of as rows_of_batch
from tokenizer_helpers import save_toy_tokenizer

CHATS: list[dict[str, Any]] = [
    {
        "messages": [
            {"role": "user", "content": f"What is {n}?"},
            {"role": "assistant", "content": f"It is {n}. " * (n % 9 + 1)},
        ],
        "source": "x" if n % 3 else None,
        "vector": [0.5] * 4,
    }
    for n in range(300)
]
SHAREGPT = [
    {"conversations": [{"from": "human", "value": f"{n}?"}, {"from": "gpt", "value": "yes"}]}
    for n in range(50)
]
ALPACA = [{"instruction": f"Add {n}", "input": "1", "output": f"{n + 1}"} for n in range(50)]
TEXTS = [{"text": f"{'long ' * (n % 20)}{n}", "url": f"u{n}"} for n in range(300)]
FORMS = {"messages": CHATS, "sharegpt": SHAREGPT, "alpaca": ALPACA, "text": TEXTS}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def table_of(records: list[dict[str, Any]]) -> pa.Table:
    """The records with a column for every key that any has."""
    names = dict.fromkeys(key for record in records for key in record)
    return pa.table({name: [record.get(name) for record in records] for name in names})


def write_parquet(path: Path, records: list[dict[str, Any]], **settings_: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table_of(records), path, **settings_)
    return path


def write_arrow(path: Path, records: list[dict[str, Any]], *, stream: bool, rows: int = 70) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = table_of(records)
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return path


def write_datasets_folder(folder: Path, records: list[dict[str, Any]]) -> Path:
    """What `Dataset.save_to_disk` writes, two files."""
    half, names = len(records) // 2, []
    for number, part in enumerate((records[:half], records[half:])):
        names.append(f"data-{number:05d}-of-00002.arrow")
        write_arrow(folder / names[-1], part, stream=True)
    state = {"_data_files": [{"filename": name} for name in names], "_split": "train"}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text('{"features": {}}')
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_a_table_has_the_rows_of_the_json_lines_for_every_number_of_processes(
    tmp_path: Path, tokenizer: Path, form: str
) -> None:
    records, kind = FORMS[form], "pretrain" if form == "text" else "ft"
    (tmp_path / "lines").mkdir()
    sources = [
        write_jsonl(tmp_path / "lines" / "data.jsonl", records),
        write_parquet(tmp_path / "parquet" / "data.parquet", records, row_group_size=90),
        write_arrow(tmp_path / "stream" / "data.arrow", records, stream=True),
        write_arrow(tmp_path / "file" / "data.arrow", records, stream=False),
    ]
    found = []
    for source in sources:
        for cores in (1, 2):
            out = tmp_path / f"{source.parent.name}{cores}"
            run_convert(tokenizer, source, out, type=kind, max_len=300, cores=cores)
            rows = [{**row, "source": ""} for row in rows_of(out)]
            info = info_of(out)
            found.append((rows, info["records"], info["tokens"], info["trained_tokens"]))
        one, two = (snapshot(tmp_path / f"{source.parent.name}{cores}") for cores in (1, 2))
        assert one == two
    assert all(one == found[0] for one in found) and found[0][0]
    unused = {"messages": {"source": 200, "vector": 300}, "text": {"url": 300}}
    assert found[0][1]["unused_keys"] == unused.get(form, {})


def test_a_folder_of_datasets_is_its_arrow_files_and_no_others(
    tmp_path: Path, tokenizer: Path
) -> None:
    folder = write_datasets_folder(tmp_path / "in" / "train", CHATS)
    write_arrow(folder / "cache-1234.arrow", TEXTS, stream=True)
    for given_ in (folder, tmp_path / "in"):
        found, _ = find_sources(given_, chats=True)
        assert [one.path.name for one in found] == [
            "data-00000-of-00002.arrow",
            "data-00001-of-00002.arrow",
        ]
    run_convert(tokenizer, folder, tmp_path / "out", max_len=300)
    assert info_of(tmp_path / "out", "data-00001-of-00002")["records"]["written"] == 150
    (folder / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(ValueError, match="state.json: names data-00001-of-00002.arrow, which is"):
        find_sources(folder, chats=True)


def test_splits_of_datasets_are_never_read_together(tmp_path: Path) -> None:
    folder = tmp_path / "both"
    for name in ("train", "test"):
        write_datasets_folder(folder / name, CHATS)
    (folder / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(ValueError, match="holds the splits train, test; name the folder of one"):
        find_sources(folder, chats=True)
    assert len(find_sources(folder / "train", chats=True)[0]) == 2
    cache = tmp_path / "cache"
    write_arrow(cache / "x-train.arrow", CHATS, stream=True)
    (cache / "dataset_info.json").write_text('{"splits": {"train": {}, "test": {}}}')
    with pytest.raises(ValueError, match="holds the splits train, test; put the Arrow files"):
        find_sources(cache, chats=True)
    (cache / "dataset_info.json").write_text('{"splits": {"train": {}}}')
    assert [one.name for one in find_sources(cache, chats=True)[0]] == ["x-train"]


def test_converted_rows_are_no_records_of_a_folder(tmp_path: Path, tokenizer: Path) -> None:
    source = write_jsonl(tmp_path / "data.jsonl", CHATS)
    run_convert(tokenizer, source, tmp_path / "ids", max_len=300)
    found, passed_over = find_sources(tmp_path, chats=True)
    assert source in [one.path for one in found]
    assert not [one for one in found if one.path.suffix == ".parquet"]
    assert [one for one in passed_over if one.suffix == ".parquet"]


RECORDS = st.lists(
    st.fixed_dictionaries(
        {"text": st.text(max_size=30)},
        optional={"id": st.integers(0, 9), "weight": st.none()},
    ),
    min_size=1,
    max_size=40,
)


@pytest.mark.parametrize("kind", ["parquet", "stream", "file"])
def test_batches_hold_every_row_once_whatever_the_limits(tmp_path: Path, kind: str) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        records=RECORDS, rows=st.integers(1, 9), size=st.integers(1, 500), group=st.integers(1, 20)
    )
    def check(records: list[dict[str, Any]], rows: int, size: int, group: int) -> None:
        if kind == "parquet":
            path = write_parquet(tmp_path / "a.parquet", records, row_group_size=group)
        else:
            path = write_arrow(tmp_path / "a.arrow", records, stream=kind == "stream", rows=group)
        batches = list(cut_rows(path, max_rows=rows, max_bytes=size))
        assert batches == list(cut_rows(path, max_rows=rows, max_bytes=size))
        assert [one.first for one in batches] == [
            sum(other.count for other in batches[:n]) for n in range(len(batches))
        ]
        assert all(one.count <= rows for one in batches)
        found = [row for one in batches for row in rows_of_batch(one.data, 1 << 20)]
        expected = [{k: v for k, v in one.items() if v is not None} for one in records]
        assert found == expected

    check()


def splits_of(path: Path) -> list[InputSplit]:
    (source,), _ = find_sources(path, chats=False)
    return list(cut_splits(source, max_lines=100))


@pytest.mark.parametrize("kind", ["parquet", "stream", "file"])
def test_splits_are_small_and_all_bytes_of_the_file_are_told(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jllm.data.records.splits.SPLIT_BYTES", 2_000)
    if kind == "parquet":
        path = write_parquet(tmp_path / "a.parquet", TEXTS, row_group_size=100)
    else:
        path = write_arrow(tmp_path / "a.arrow", TEXTS, stream=kind == "stream")
    found = splits_of(path)
    assert len(found) > 5 and sum(one.taken for one in found) == path.stat().st_size
    assert all(len(one.data or b"") < 5_000 for one in found)


def test_a_row_that_cannot_be_used_is_named_by_its_number(tmp_path: Path, tokenizer: Path) -> None:
    good = pa.array([json.dumps(one)[:40] for one in TEXTS[:9]])
    bad = pa.StringArray.from_buffers(
        1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")
    )
    large = pa.array(["x" * 5000])
    table = pa.table({"text": pa.chunked_array([good, bad, large, pa.array([None], pa.string())])})
    for kind in ("parquet", "stream"):
        path = tmp_path / kind / ("data.parquet" if kind == "parquet" else "data.arrow")
        path.parent.mkdir()
        if kind == "parquet":
            pq.write_table(table, path)
        else:
            with pa.ipc.new_stream(str(path), table.schema) as writer:
                writer.write_table(table.combine_chunks())
        settings_ = {"type": "pretrain", "max_record_bytes": 1000}
        with pytest.raises(BadRecord, match=f"{path}:10: invalid UTF-8"):
            run_convert(tokenizer, path, tmp_path / "out", **settings_)
        out = tmp_path / f"{kind}-out"
        run_convert(tokenizer, path, out, on_error="skip", **settings_)
        records = info_of(out)["records"]
        assert (records["read"], records["written"]) == (12, 9)
        assert [(one["line"], one["reason"]) for one in records["dropped_list"]] == [
            (10, "invalid UTF-8"),
            (11, "too many bytes"),
            (12, "missing key"),
        ]


@pytest.mark.parametrize("kind", ["parquet", "stream", "file"])
@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_damaged_table_is_an_error_that_names_it(
    tmp_path: Path, tokenizer: Path, kind: str, damage: str
) -> None:
    if kind == "parquet":
        path = write_parquet(tmp_path / "data.parquet", TEXTS)
    else:
        path = write_arrow(tmp_path / "data.arrow", TEXTS, stream=kind == "stream")
    whole = path.read_bytes()
    cut = whole[: 2 * len(whole) // 3]
    path.write_bytes({"cut": cut, "text": b"plain text, no table" * 9, "empty": b""}[damage])
    with pytest.raises(ValueError, match=f"{path}: no whole (parquet|arrow) file: "):
        run_convert(tokenizer, path, tmp_path / "out", type="pretrain")
    assert not (tmp_path / "out").exists()


def test_two_columns_of_one_name_are_refused(tmp_path: Path, tokenizer: Path) -> None:
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    with pa.ipc.new_stream(str(tmp_path / "data.arrow"), table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(ValueError, match="has two columns 'text'"):
        run_convert(tokenizer, tmp_path / "data.arrow", tmp_path / "out", type="pretrain")
