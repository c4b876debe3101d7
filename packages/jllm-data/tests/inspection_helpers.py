"""A small data set of chats with everything that an inspection shows, and what it prints."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console

from convert_helpers import run_convert, write_jsonl
from jllm.data.reading.row_decoder import TrainingRows, decode_rows
from jllm.data.runtime.progress import WorkProgress
from jllm.data.tools.inspect.config import InspectConfig, check_config
from jllm.data.tools.inspect.inspect import inspect_data
from parquet_helpers import INT32_LISTS, Row
from tokenizer_helpers import save_toy_tokenizer

HOSTILE = "<script>alert(1)</script> & \x1b[31mred 中文"
CHATS: list[Any] = [
    [{"user": "one plus one?"}, {"assistant": "two"}],
    [{"system": "be short"}, {"user": "and then?"}, {"assistant": "three"}, {"user": "why"},
     {"assistant": "because it is so, and not otherwise"}],
    [{"user": "say it"}, {"assistant": HOSTILE}],
    [{"user": "a tool"}, {"assistant": "call"}, {"tool": "result"}, {"assistant": "done"}],
    [{"user": "too long " * 200}, {"assistant": "never"}],
    *([{"user": f"question {i} " * (1 + i % 5)}, {"assistant": f"answer {i} " * (1 + i % 7)}]
      for i in range(60)),
]  # fmt: skip
MAX_LEN = 257


def make_chats(folder: Path) -> Path:
    """Convert CHATS: `folder/ids`, from `folder/data.jsonl`, with a line that is no JSON."""
    tokenizer = save_toy_tokenizer(folder / "tokenizer")
    source = write_jsonl(folder / "data.jsonl", CHATS)
    source.write_text(source.read_text() + "{\n")
    run_convert(tokenizer, source, folder / "ids", max_len=MAX_LEN, on_error="skip")
    return folder / "ids"


def make_text(folder: Path, texts: Sequence[str], *, stack: bool, max_len: int = 33) -> Path:
    """Convert texts, one a document: `folder/ids`."""
    tokenizer = save_toy_tokenizer(folder / "tokenizer")
    source = folder / "data.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    run_convert(tokenizer, source, folder / "ids", type="pretrain", stack=stack, max_len=max_len)
    return folder / "ids"


def printed(data: Path | str, *, width: int = 100, terminal: bool = False, **flags: Any) -> str:
    """What the command prints."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
    )
    config = InspectConfig(data=str(data), **flags)
    check_config(config)
    with WorkProgress(console) as progress:
        inspect_data(config, progress)
    return out.getvalue()


def decoded(rows: Sequence[Row], *, max_len: int, document_end_id: int | None) -> TrainingRows:
    """Rows as a reader decodes them."""
    columns = {
        name: pa.chunked_array([pa.array([row[name] for row in rows], INT32_LISTS)])
        for name in rows[0]
    }
    return decode_rows(columns, max_len=max_len, document_end_id=document_end_id, where="test")
