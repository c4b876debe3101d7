"""What lies in the output folder is never written over and never becomes part of the new data."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from convert_helpers import run_convert, snapshot, write_jsonl
from jllm.data.convert import convert as convert_module
from jllm.data.reading.dataset import open_dataset
from jllm.data.tools.repartition.config import RepartitionConfig
from jllm.data.tools.repartition.repartition import repartition
from shuffle_helpers import run_shuffle, write_dataset
from tokenizer_helpers import save_toy_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(params=["raw2ids", "shuffle"])
def write(request, tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a small data set to the folder `out`, by the one command or the other."""
    source = write_jsonl(tmp_path / "data.jsonl", [{"text": f"a {n}"} for n in range(9)])
    rows = write_dataset(tmp_path / "data", 9)

    def run(clean: bool = False) -> Path:
        if request.param == "shuffle":
            run_shuffle(monkeypatch, rows, tmp_path / "out", num_block=2, clean=clean)
        else:
            settings = {"type": "pretrain", "num_lines_per_partition": 3, "clean": clean}
            run_convert(tokenizer, source, tmp_path / "out", **settings)
        return tmp_path / "out"

    return run


def refused(write, out: Path, message: str) -> None:
    """Refused with and without --clean, and nothing is changed."""
    before = snapshot(out)
    for clean in (False, True):
        with pytest.raises(ValueError, match=message):
            write(clean)
        assert snapshot(out) == before


def test_parts_of_a_repartition_are_not_joined(write) -> None:
    out = write()
    config = RepartitionConfig(dataset=str(out), num_partition=2)
    repartition(config)
    refused(write, out, "holds the parts of a repartition: .* --undo")
    (out / "data.info").unlink()
    refused(write, out, r"that no info file of jllm's beside it lists: .*-part-00000/")


def test_parts_are_not_put_beside_other_data(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_dataset(tmp_path / name, 20, file_rows=5, first=len(name))
    one = RepartitionConfig(
        dataset=str(tmp_path / "one"), num_partition=2, output=str(tmp_path / "parts")
    )
    repartition(one)
    before = snapshot(tmp_path)
    with pytest.raises(ValueError, match="parts: holds the parts of another data set than .*two"):
        repartition(replace(one, dataset=str(tmp_path / "two")))
    for output in ("two", "."):
        with pytest.raises(ValueError, match="holds data already"):
            repartition(replace(one, output=str(tmp_path / output)))
    assert snapshot(tmp_path) == before
    repartition(one)  # is complete
    moved = {"dataset": str(tmp_path / "up" / "two"), "output": str(tmp_path / "up"), "move": True}
    shutil.copytree(tmp_path / "two", tmp_path / "up" / "two")
    repartition(replace(one, **moved))
    assert open_dataset(tmp_path / "up").num_rows == 20


@pytest.mark.parametrize("name", ["other.parquet", "a/b/other.parquet", "data_info.json"])
def test_data_of_others_is_not_joined(write, tmp_path: Path, name: str) -> None:
    other = tmp_path / "out" / name
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    refused(write, tmp_path / "out", f"lists: .*{name}; give another")


def test_files_whose_info_file_is_gone_are_not_written_over(write) -> None:
    out = write()
    (info,) = out.glob("*_info.json")
    info.unlink()
    refused(write, out, "lists: .*data-00000-.*parquet")


def test_a_tokenizer_of_others_is_not_joined(write, tmp_path: Path) -> None:
    save_toy_tokenizer(tmp_path / "out" / "tokenizer", "qwen3")
    refused(write, tmp_path / "out", "there is of another tokenizer")


def test_what_appears_while_rows_are_made_is_kept(
    tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_jsonl(tmp_path / "data.jsonl", [{"text": f"a {n}"} for n in range(9)])
    out, other, info_text = tmp_path / "out", tmp_path / "other", convert_module.info_text
    run_convert(tokenizer, source, other, type="pretrain")

    def late(*arguments):
        shutil.copytree(other, out, dirs_exist_ok=True)
        return info_text(*arguments)

    monkeypatch.setattr(convert_module, "info_text", late)
    with pytest.raises(ValueError, match="holds converted data already"):
        run_convert(tokenizer, source, out, type="pretrain")
    assert snapshot(other).items() <= snapshot(out).items()
