"""What a Spark task makes of numbered lines, without Spark: the rows of `jllm.raw2ids -n`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from convert_helpers import info_of, rows_of, run_convert
from jllm.data.convert.config import Raw2IdsConfig
from jllm.data.convert.spark.convert_partition import ACCOUNT, Line, converter_of
from jllm.data.convert.spark.line_numbers import Before, number_lines
from jllm.data.convert.spark.partition_counts import add_up
from resume_helpers import SMALL_STEPS, write_input
from tokenizer_helpers import save_toy_tokenizer

CASES: dict[str, dict[str, Any]] = {
    "chats": {"type": "ft", "max_len": 120},
    "packed": {"type": "pretrain", "max_len": 65, "pad": True},
    "stacked": {"type": "pretrain", "max_len": 33, "stack": True},
}


def numbered(path: Path) -> list[Line]:
    """The lines of a JSON lines file, as the shuffle gives them to a task."""
    lines = path.read_bytes().splitlines()
    numbers = number_lines(lines, "lines", Before())
    return [
        Line(source=path.name, record=record, number=number, text=text)
        for text, (number, record) in zip(lines, numbers, strict=True)
    ]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("unit_bytes", [300, 1 << 20])
def test_rows_do_not_depend_on_where_units_of_work_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, unit_bytes: int
) -> None:
    for module, name, value in SMALL_STEPS:
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr("jllm.data.convert.spark.convert_partition.SPLIT_BYTES", unit_bytes)
    tokenizer = save_toy_tokenizer(tmp_path / "tokenizer")
    source = write_input(tmp_path / "in", case)
    settings = {**CASES[case], "num_lines_per_partition": 150}
    run_convert(tokenizer, source, tmp_path / "out", fast="off", **settings)
    config = Raw2IdsConfig(
        tokenizer=str(tokenizer), input=str(source), output="", fast="off", **settings
    )
    lines = [line for path in sorted(source.iterdir()) for line in numbered(path)]
    made = pa.Table.from_batches(converter_of(config).convert(lines)).to_pylist()
    texts = [row.pop(ACCOUNT) for row in made]
    totals = add_up(text for text in texts if text is not None)
    assert [row for row, text in zip(made, texts, strict=True) if text is None] == rows_of(
        tmp_path / "out"
    )
    infos = [info_of(tmp_path / "out", name) for name in ("a", "b")]
    assert totals.bag.rows == sum(info["num_samples"] for info in infos) > 60
    assert totals.account.read == sum(info["records"]["read"] for info in infos)
    assert totals.max_num_blocks == max(info["max_num_blocks"] for info in infos)
