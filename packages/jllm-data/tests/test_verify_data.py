"""Each rule that a data set can break is found and named by file, row group and row."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convert_helpers import run_convert, write_jsonl
from jllm.data.format.digests import file_digest, row_group_digest
from jllm.data.format.schema import FIELDS
from jllm.data.format.sealed_json import sealed
from jllm.data.tools.verify.config import VerifyConfig
from jllm.data.tools.verify.verify import verify
from jllm.verify_data import main
from parquet_helpers import numbered_rows, write_folder
from shuffle_helpers import Quiet, run_shuffle, write_dataset
from tokenizer_helpers import save_toy_tokenizer

GROUP = 64


def findings(folder: Path, **settings: Any) -> list[str]:
    return verify(VerifyConfig(folder=str(folder), cores=1, **settings), Quiet()).findings


def rewrite(folder: Path, change: Any, group_rows: int = GROUP) -> Path:
    """Change the rows of the first file; digests and sizes are those of the new rows."""
    (info_path,) = folder.glob("*_info.json")
    info = json.loads(info_path.read_text())
    path = folder / info["files"][0]["name"]
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    nullable = [field.with_nullable(True) for field in table.schema]
    table = pa.Table.from_pylist(rows, schema=pa.schema(nullable, table.schema.metadata))
    pq.write_table(table, path, row_group_size=group_rows, use_dictionary=["source"])
    groups = [table.slice(at, group_rows) for at in range(0, len(rows), group_rows)]
    info["files"][0] |= {
        "num_samples": len(rows),
        "bytes": path.stat().st_size,
        "digest": file_digest(path),
        "row_groups": [
            {
                "num_samples": group.num_rows,
                "digest": row_group_digest(
                    {name: group[name] for name in FIELDS if name in group.column_names}
                ),
            }
            for group in groups
        ],
    }
    info["num_samples"] = sum(file["num_samples"] for file in info["files"])
    info_path.write_text(sealed(info))
    return path


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    """Rows of two documents whose account and sums are right."""
    folder = write_dataset(tmp_path / "chats", 150)
    edit(folder, lambda info: info.update(trained_tokens=trained(folder)))
    return folder


def trained(folder: Path) -> int:
    rows = [row for path in folder.glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    return sum(label != -100 for row in rows for label in row["labels"])


def edit(folder: Path, change: Any) -> None:
    """Change the info file and seal it again."""
    (path,) = folder.glob("*_info.json")
    info = json.loads(path.read_text())
    change(info)
    path.write_text(sealed(info))


def set_row(name: str, value: Any) -> Any:
    """A change of row 70: the value, or what it is made of the row's own."""

    def change(rows: list[dict[str, Any]]) -> None:
        rows[70][name] = value(rows[70]) if callable(value) else value

    return change


BROKEN_ROWS = {
    "a bound that falls": (
        set_row("cu_seqlens", lambda row: [0, 4, 4, len(row["input_ids"]) - 1]),
        "cu_seqlens is .* strictly increasing",
    ),
    "a first bound that is not 0": (
        set_row("cu_seqlens", lambda row: [1, 3, len(row["input_ids"]) - 1]),
        "cu_seqlens is .* from 0",
    ),
    "a last bound that is not the last position": (
        set_row("cu_seqlens", lambda row: [0, 3, len(row["input_ids"])]),
        r"cu_seqlens is .* to len\(input_ids\) − 1",
    ),
    "too many ids": (
        lambda rows: rows[70].update(input_ids=[5] * 40, labels=[-100] * 40, cu_seqlens=[0, 9, 39]),
        "input_ids has 40 ids, expected 2 to max_len = 33",
    ),
    "one id": (
        lambda rows: rows[70].update(input_ids=[5], labels=[-100], cu_seqlens=[0, 1]),
        "input_ids has 1 ids",
    ),
    "a negative id": (
        set_row("input_ids", lambda row: [-3, *row["input_ids"][1:]]),
        "input_ids holds -3",
    ),
    "a label that is another id": (
        set_row("labels", lambda row: [-100, row["input_ids"][1] + 1, *row["labels"][2:]]),
        r"labels\[1\] is",
    ),
    "a label too few": (
        set_row("labels", lambda row: row["labels"][:-1]),
        "labels has .* entries",
    ),
    "a trained first id of a row": (
        set_row("labels", lambda row: [row["input_ids"][0], *row["labels"][1:]]),
        r"labels\[0\], the first of a document",
    ),
    "a trained first id of a later document": (
        set_row(
            "labels",
            lambda row: [
                row["input_ids"][i] if i == row["cu_seqlens"][1] else label
                for i, label in enumerate(row["labels"])
            ],
        ),
        r"labels\[\d+\], the first of a document, is .*, expected -100",
    ),
    "a record too many": (set_row("records", [1, 2, 3]), "records has 3 entries, .* 2 documents"),
    "a record number of 0": (set_row("records", [0, 4]), "records holds 0"),
    "no records": (set_row("records", None), "row 6 is null"),
    "no source": (set_row("source", None), "source is null"),
}


@pytest.mark.parametrize("name", BROKEN_ROWS)
def test_a_row_that_breaks_a_rule_is_named(chats: Path, name: str) -> None:
    change, message = BROKEN_ROWS[name]
    assert findings(chats) == []
    path = rewrite(chats, change)
    found = findings(chats)
    assert len(found) == (2 if name == "one id" else 1), found  # then no bounds are right

    assert re.match(f"{re.escape(str(path))}, row group 1, (row 6|records): {message}", found[0])


BROKEN_INFO = {
    "a record read and forgotten": (
        lambda info: info["records"].update(read=info["records"]["read"] + 1),
        "the account is wrong: 304 records read, but 300 written and 3 dropped",
    ),
    "a dropped record that is not listed": (
        lambda info: info["records"].update(dropped={"empty text": 4}, read=304),
        "dropped_list has",
    ),
    "no account": (lambda info: info["records"].pop("read"), "records is damaged"),
    "a sum of rows": (lambda info: info.update(num_samples=149), "num_samples is 149"),
    "a sum of targets": (
        lambda info: info.update(trained_tokens=info["trained_tokens"] + 1),
        "trained_tokens is .*, the rows have",
    ),
    "the longest list of bounds": (
        lambda info: info.update(max_num_blocks=2),
        "max_num_blocks is 2, a row has 3 entries",
    ),
    "a digest of a row group": (
        lambda info: info["files"][0]["row_groups"][0].update(digest="0" * 32),
        r"row group 0: its digest is .*, the info file states 0000",
    ),
    "a digest of a file": (
        lambda info: info["files"][0].update(digest="0" * 32),
        r"parquet: its digest is .*, the info file states 0000",
    ),
    "the size of a file": (
        lambda info: info["files"][0].update(bytes=7),
        "parquet: has .* bytes, the info file states 7",
    ),
    "another tokenizer": (
        lambda info: info.update(tokenizer_digest="u"),
        "tokenizer_digest is 'u', .* has 't'",
    ),
}


@pytest.mark.parametrize("name", BROKEN_INFO)
def test_an_info_file_that_states_something_else_is_named(chats: Path, name: str) -> None:

    change, message = BROKEN_INFO[name]
    edit(chats, change)
    found = findings(chats)
    assert found and any(re.search(message, finding) for finding in found), found


@pytest.mark.parametrize(
    "settings",
    [
        {"type": "pretrain", "stack": True},
        {"type": "pretrain"},
        {"type": "pretrain", "pad": True, "num_lines_per_partition": 7},
    ],
)
def test_text_of_every_form_is_sound_also_when_it_is_shuffled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    tokenizer = save_toy_tokenizer(tmp_path / "toy")
    texts = [{"text": "so it is. " * (n % 11)} for n in range(40)]
    source = write_jsonl(tmp_path / "data.jsonl", texts)
    run_convert(tokenizer, source, tmp_path / "ids", on_error="skip", **settings)
    stacked = settings.get("stack", False)
    assert findings(tmp_path / "ids", stacked=stacked) == []
    run_shuffle(monkeypatch, tmp_path / "ids", tmp_path / "shuffled")
    assert findings(tmp_path / "shuffled", stacked=stacked) == []
    path = rewrite(
        tmp_path / "shuffled", lambda rows: rows[0].update(input_ids=[3, 9999], cu_seqlens=[0, 1])
    )
    short, high = findings(tmp_path / "shuffled", stacked=True)[:2]
    assert short.startswith(f"{path}, row group 0, row 0: input_ids has 2 ids, expected exactly")
    assert high.startswith(f"{path}, row group 0, row 0: input_ids holds 9999, the tokenizer")


def test_files_by_others_are_checked_by_what_they_state(tmp_path: Path) -> None:
    rows = numbered_rows(20)
    folder = write_folder(tmp_path, {"a.parquet": rows, "b.parquet": rows}, digests=False)
    assert findings(folder) == [] and findings(folder, stacked=True) == []
    rows[9] = {"input_ids": [1, 2, 3], "cu_seqlens": [0, 3]}
    write_folder(tmp_path, {"b.parquet": rows}, digests=False)
    found = findings(folder)
    assert f"{folder}/b.parquet, row group 2, row 1: cu_seqlens is [0, 3]" in found[-1]


def test_the_command_lists_findings_by_file_and_says_by_its_exit_code(
    chats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(chats), "--cores", "2"]) == 0
    assert "150 rows in 1 files, nothing wrong" in capsys.readouterr().out

    def break_many(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["source"] = None

    rewrite(chats, break_many, group_rows=1)
    assert main([str(chats), "--cores", "2", "--max_findings", "10"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12 and "row group 9, row 0: source" in lines[9]
    assert lines[10] == "… and 140 more" and lines[11].endswith("150 findings")
    assert main([str(tmp_path / "none")]) == 2
    assert main([str(tmp_path / "none"), "--cores", "0"]) == 2
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty")]) == 2
    assert capsys.readouterr().err.count("error: ") == 3


def test_prompts_are_checked_and_shuffled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = save_toy_tokenizer(tmp_path / "toy")
    prompts = [[n, {"user": "what is " + "so " * n}] for n in range(12)]
    source = write_jsonl(tmp_path / "data.jsonl", prompts)
    run_convert(tokenizer, source, tmp_path / "ids", max_len=65)
    assert findings(tmp_path / "ids") == []
    run_shuffle(monkeypatch, tmp_path / "ids", tmp_path / "out")
    assert findings(tmp_path / "out") == []
    path = rewrite(tmp_path / "out", lambda rows: rows[0].update(labels=[1, 2]))
    (found,) = findings(tmp_path / "out")
    assert found.startswith(f"{path}, row group 0, row 0: ") and "one entry of labels" in found
