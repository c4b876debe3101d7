"""Any single changed byte of any file of a data set is found, and the file is named."""

import functools
import random
from pathlib import Path

import pytest

from convert_helpers import run_convert, write_jsonl
from jllm.data.format.file_names import DIGESTS, TOKENIZER_FOLDER
from jllm.data.tools.verify import check_tokenizer
from jllm.data.tools.verify.config import VerifyConfig
from jllm.data.tools.verify.verify import VerifyReport, verify
from shuffle_helpers import Quiet
from tokenizer_helpers import save_toy_tokenizer

FLIPS = 25
"""A file."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flips")
    tokenizer = save_toy_tokenizer(folder / "toy")
    chats = [[{"user": f"say {n}"}, {"assistant": "no. " * (n % 9 + 1)}] for n in range(60)]
    source = write_jsonl(folder / "data.jsonl", [*chats, [{"user": "only"}]])
    run_convert(
        tokenizer, source, folder / "ids", max_len=65, filter=True, num_lines_per_partition=40
    )
    return folder / "ids"


def check(folder: Path) -> VerifyReport:
    return verify(VerifyConfig(folder=str(folder), cores=1), Quiet())


def test_what_raw2ids_wrote_is_sound(dataset: Path) -> None:
    report = check(dataset)
    assert report.findings == [] and report.total == 0 and report.files == 2 and report.rows > 9
    assert (dataset / TOKENIZER_FOLDER / DIGESTS).exists()


def test_every_changed_byte_is_found(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = functools.cache(check_tokenizer.load_tokenizer)  # no damaged one is loaded
    monkeypatch.setattr(check_tokenizer, "load_tokenizer", load)
    rng = random.Random(1)
    files = [path for path in sorted(dataset.rglob("*")) if path.is_file()]
    assert {path.suffix for path in files} >= {".json", ".parquet"} and len(files) >= 5
    for path in files:
        good = path.read_bytes()
        ends = {0, 3, len(good) - 1, len(good) - 5}
        for place in sorted(ends | {rng.randrange(len(good)) for _ in range(FLIPS)}):
            changed = good[place] ^ rng.randrange(1, 256)
            path.write_bytes(good[:place] + bytes([changed]) + good[place + 1 :])
            report = check(dataset)
            assert report.total >= 1, (path, place, good[place], changed)
            assert any(path.name in finding for finding in report.findings), report.findings
        path.write_bytes(good)
    assert check(dataset).total == 0


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_files_that_are_cut_short_are_found(dataset: Path, kept: float) -> None:
    for path in sorted(path for path in dataset.rglob("*") if path.is_file()):
        good = path.read_bytes()
        path.write_bytes(good[: int(len(good) * kept)])
        report = check(dataset)
        assert any(path.name in finding for finding in report.findings), path
        path.write_bytes(good)


def test_files_that_are_missing_or_one_too_many_are_found(dataset: Path) -> None:
    for path in sorted(dataset.glob("*.parquet")):
        good = path.read_bytes()
        path.unlink()
        assert any(f"{path}: missing" in finding for finding in check(dataset).findings)
        path.write_bytes(good)
        other = path.with_name("other.parquet")
        other.write_bytes(good)
        assert f"{other}: no info file lists it" in check(dataset).findings
        other.unlink()
