"""Any bytes: no crash, and the account has every record that a plain second count finds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert_helpers import Notes, info_of, rows_of
from jllm.data.convert.config import Raw2IdsConfig
from jllm.data.convert.convert import convert
from jllm.data.convert.count_records import BadRecord
from jllm.data.tokenizer.load import load_tokenizer
from tokenizer_helpers import save_toy_tokenizer

LIMIT = 300
"""--max_record_bytes."""
TEXTS = [{"text": "a b"}, {"text": " "}, {"text": "\ud800"}, {"text": 1}, {"\x1b[2J\udc80": 2}]
CHAT = [{"user": "a"}, {"assistant": "b"}]
CHATS = [CHAT, [1, *CHAT], [1, CHAT[0]], [2**40, CHAT[0]], {"messages": CHAT}, [{"\udc80": "a"}]]
CHATS += [{"messages": [{"role": r, "content": r}]} for r in ("user", "tool", "nobody", ["user"])]
CHATS += [{"messages": [{"role": "user", "content": "a"}], "id": 3, "tools": []}, [[], 1], {}]
JSON = [json.dumps(value).encode() for value in TEXTS + CHATS]
DEEP = [b"[" * 250, b'{"a":' * 50, b'[{"user":' + b"[" * 200 + b"]" * 200 + b"}]"]
ODD = [b"\xef\xbb\xbf", b"\xff", b"\0", b" ", b"\r", b"\x0b", b"1" * 299, b"NaN", b"9" * 280, b'"']
ENDS = [b"\n", b"\n", b"\n\n", b"\r\n", b"\r\n\r\n", b"\n \n"]
LONG = [b"x" * 301, b"y y" * 200, b'{"text": "' + b"z" * 400 + b'"}']
GOOD = {
    "pretrain": b'{"text": "the end"}',
    "ft": json.dumps(CHAT).encode(),
    "rl": json.dumps(CHATS[2]).encode(),
}
BYTES = st.lists(
    st.one_of(
        st.sampled_from(JSON + DEEP + ODD + LONG), st.sampled_from(ENDS), st.binary(max_size=9)
    ),
    max_size=16,
).map(b"".join)


def lines_of(data: bytes) -> list[bytes]:
    return data.removeprefix(b"\xef\xbb\xbf").split(b"\n")


def count_lines(data: bytes) -> int:
    return sum(len(line) > LIMIT or line.strip() != b"" for line in lines_of(data))


def count_paragraphs(data: bytes) -> int:
    """Runs of lines that are not empty."""
    count, run = 0, b""
    lines = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").split(b"\n")
    for line in [*lines, b""]:
        if line:
            run += b"\n" * (run != b"") + line
        else:
            count += len(run) > LIMIT or run.strip() != b""
            run = b""
    return count


def gzipped(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "gzip") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("kind", "name", "count"),
    [
        ("pretrain", "data.jsonl", count_lines),
        ("pretrain", "data.txt", count_paragraphs),
        ("pretrain", "data.txt.gz", count_paragraphs),
        ("ft", "data.jsonl", count_lines),
        ("rl", "data.jsonl.gz", count_lines),
    ],
)
def test_every_record_is_written_or_dropped_with_a_reason(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    name: str,
    count: Callable[[bytes], int],
) -> None:
    tokenizer = load_tokenizer(str(save_toy_tokenizer(tmp_path / "tokenizer")))
    monkeypatch.setattr("jllm.data.convert.convert.cached_tokenizer", lambda name: tokenizer)
    source, out = tmp_path / name, tmp_path / "out"

    def run(**more: Any) -> bool:
        config = Raw2IdsConfig(
            tokenizer=str(tmp_path / "tokenizer"), input=str(source), output=str(out), type=kind,
            max_len=200, cores=1, clean=True, max_record_bytes=LIMIT, fast="off", **more,
        )  # fmt: skip
        try:
            convert(config, Notes())
        except BadRecord as error:
            assert str(error).startswith(f"{source}:") and config.on_error == "stop"
            return False
        except ValueError as error:
            assert "no record is left to write" in str(error)
            return False
        return True

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=BYTES, unit=st.integers(1, 400), lines=st.integers(1, 5))
    def check(data: bytes, unit: int, lines: int) -> None:
        monkeypatch.setattr("jllm.data.records.splits.SPLIT_BYTES", unit)
        data += b"\n\n" + GOOD[kind]
        source.write_bytes(gzipped(data) if name.endswith(".gz") else data)
        whole = run(on_error="stop", chunk_size=lines)
        if not run(on_error="skip", chunk_size=lines):
            assert kind == "ft", "only a prompt that comes first makes the last record another kind"
            return
        records = info_of(out)["records"]
        assert records["read"] == count(data)
        assert records["read"] == records["written"] + sum(records["dropped"].values())
        if count is count_lines:
            too_long = sum(len(line) > LIMIT for line in lines_of(data))
            assert records["dropped"].get("too many bytes", 0) == too_long
        written = {record for row in rows_of(out) for record in row["records"]}
        assert len(written) == records["written"]
        fatal = set(records["dropped"]) - {"empty text", "longer than max_len"}
        assert whole == (not fatal)

    check()
