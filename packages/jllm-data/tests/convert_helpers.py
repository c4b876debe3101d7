"""Runs conversions in this process and reads back what they wrote."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jllm.data.convert.config import Raw2IdsConfig, check_config
from jllm.data.convert.convert import ConvertedFile, convert
from jllm.data.convert.encode_split import EncodedSplit
from jllm.data.records.input_files import Source
from jllm.data.records.splits import InputSplit


class Notes:
    """A reporter that keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self, sources: Sequence[Source], taken: int) -> None: ...

    def advance(self, unit: InputSplit, result: EncodedSplit) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


def run_convert(
    tokenizer: Path, source: Path, output: Path, **settings: Any
) -> list[ConvertedFile]:
    """Convert in this process (one process unless `cores` says otherwise)."""
    settings = {"cores": 1, "max_len": 33, **settings}
    config = Raw2IdsConfig(
        tokenizer=str(tokenizer), input=str(source), output=str(output), **settings
    )
    check_config(config)
    return convert(config, Notes())


def info_of(output: Path, name: str = "data") -> dict[str, Any]:
    return json.loads((output / f"{name}_info.json").read_text())


def rows_of(output: Path) -> list[dict[str, Any]]:
    """All rows of all files, in the order of the names."""
    return [
        row for file in sorted(output.glob("*.parquet")) for row in pq.read_table(file).to_pylist()
    ]


def documents_in(rows: list[dict[str, Any]]) -> list[list[int]]:
    """The ids of every document of rows that hold whole documents."""
    documents = []
    for row in rows:
        edges = [*row["cu_seqlens"][:-1], len(row["input_ids"])]
        documents += [row["input_ids"][a:b] for a, b in zip(edges, edges[1:], strict=False)]
    return documents


def write_jsonl(path: Path, values: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file of a folder and its bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
