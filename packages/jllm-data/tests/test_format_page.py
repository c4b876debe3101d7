"""docs/data_format.md names the columns, keys and files that there are, and no others."""

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from convert_helpers import info_of, run_convert, write_jsonl
from jllm.data.format.file_names import TOKENIZER_FILES
from tokenizer_helpers import save_toy_tokenizer

PAGE = (Path(__file__).parents[3] / "docs" / "data_format.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return re.split(r"^## ", PAGE, flags=re.MULTILINE)[[*headings()].index(title) + 1]


def headings() -> list[str]:
    return re.findall(r"^## (.*)$", PAGE, re.MULTILINE)


def first_cells(title: str) -> list[str]:
    """Names in code quotes of the first cells of a section's tables, in order."""
    rows = re.findall(r"^\| (`.*?) \|", section(title), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    chats = [[{"user": f"{n}?"}, {"assistant": "yes"}] for n in range(3)]
    source = write_jsonl(folder / "data.jsonl", [*chats, []])
    tokenizer = save_toy_tokenizer(folder / "model")
    run_convert(tokenizer, source, folder / "out", on_error="skip", max_len=200)
    return folder / "out"


def test_the_page_lists_the_columns_in_their_order(output: Path) -> None:
    (file,) = output.glob("*.parquet")
    assert first_cells("Rows") == pq.read_schema(file).names
    types = {field.name: str(field.type) for field in pq.read_schema(file)}
    for name, kind in types.items():
        kind = re.sub(r"list<\w+: (\w+) not null>", r"list<\1>", kind)
        assert f"| `{name}` | `{kind}` |" in PAGE


def test_the_page_lists_the_metadata(output: Path) -> None:
    (file,) = output.glob("*.parquet")
    keys = {key.decode() for key in pq.read_schema(file).metadata}
    assert set(first_cells("Metadata")) == keys


def test_the_page_lists_the_keys_of_the_info_file(output: Path) -> None:
    info = info_of(output)
    keys = {*info, *(f"records.{key}" for key in info["records"])} - {"records"}
    assert set(first_cells("The info file")) == keys
    ((files,),) = [re.findall(r"^\| `files` \| `(.*)` \|$", PAGE, re.MULTILINE)]
    named = re.findall(r'"(\w+)"', files)
    (file,) = info["files"]
    assert named == [*file, *file["row_groups"][0]]


def test_the_page_lists_the_files_of_the_tokenizer() -> None:
    named = set(re.findall(r"`([\w.]+\.(?:json|jinja))`", section("The tokenizer")))
    assert named == set(TOKENIZER_FILES)
