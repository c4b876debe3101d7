"""`a:0.7,b:0.3`: what it names, what it refuses, and the batches that it gives."""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from jllm.data.format.schema import FileMetadata
from jllm.data.reading.dataset import open_dataset
from jllm.data.reading.mixture import DataMixture, open_mixture, parse_mixture
from jllm.data.reading.mixture_order import locate
from jllm.data.reading.reader import LaneReader
from jllm.data.reading.row_decoder import TrainingRows
from parquet_helpers import numbered_rows, write_folder

ROWS = {"a": 65, "b": 21, "c": 9}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three data sets; ids tell the row: those of a from 0, of b from 1000, of c from 2000."""
    root = tmp_path_factory.mktemp("mixture")
    for i, (name, count) in enumerate(ROWS.items()):
        rows = numbered_rows(count, first=1000 * i)
        write_folder(root / name, {"x.parquet": rows[:8], "y.parquet": rows[8:]})
    return root


def mix(folder: Path, text: str) -> DataMixture:
    return open_mixture(",".join(f"{folder}/{item}" for item in text.split(",")))


def located(mixture: DataMixture, step: int, size: int) -> list[int]:
    """The numbers of the rows that `mixture_order.locate` gives."""
    group_rows = [part.group_rows for part in mixture.parts]
    found = locate(group_rows, mixture.shares(size), 5, step, range(size))
    starts = [np.concatenate(([0], np.cumsum(rows))) for rows in group_rows]
    first = [1000 * list(ROWS).index(part.path.name) for part in mixture.parts]
    return [int(first[d] + starts[d][g] + r) for d, g, r in zip(*found, strict=True)]


def reader(mixture: DataMixture, size: int, lanes: range, read_ahead: bool = True) -> LaneReader:
    return LaneReader(
        mixture, seed=5, global_batch_size=size, lanes=lanes, read_ahead=read_ahead
    )  # fmt: skip


@pytest.mark.parametrize("text", ["a:0.7,b:0.3", "a:5,b:2,c:1", "c:1,a:1"])
@pytest.mark.parametrize("cuts", [[12], [6, 12], [1, 2, 7, 12]])
def test_every_number_of_readers_gives_the_rows_that_locate_names(
    folder: Path, text: str, cuts: list[int]
) -> None:
    mixture, size = mix(folder, text), cuts[-1]
    readers = [reader(mixture, size, range(a, b)) for a, b in pairwise([0, *cuts])]
    for step in [*range(40), 10**9, 3]:
        numbers = [n for rows in readers for n in rows.read(step).tokens[:, 0].tolist()]
        assert numbers == located(mixture, step, size)
    for rows in readers:
        rows.close()


def counted(read: Callable[[int], TrainingRows], numbers: list[int], number: int) -> TrainingRows:
    numbers.append(number)
    return read(number)


@pytest.mark.parametrize("read_ahead", [True, False])
def test_each_row_group_is_read_once_while_lanes_move_on(
    folder: Path, read_ahead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading stays sequential: no row group of an epoch is decoded again and again."""
    mixture, size, steps = mix(folder, "a:5,b:2,c:1"), 6, 60
    with reader(mixture, size, range(size), read_ahead) as rows:
        read: list[int] = []
        for files in rows._files:
            monkeypatch.setattr(files, "read", partial(counted, files.read, read))
        for step in range(steps):
            rows.read(step)
            assert len(rows._groups) <= sum(mixture.shares(size).lanes) + 4
    shares = mixture.shares(size)
    visits = [
        taken / rows_of_lanes * (len(part.row_groups) + lanes)
        for taken, part, lanes in zip(
            shares.rows_before(steps), mixture.parts, shares.lanes, strict=True
        )
        for rows_of_lanes in [part.num_rows // lanes * lanes]
    ]
    assert len(read) <= sum(visits) + 2 * sum(shares.lanes)


def test_the_share_of_rows_is_what_the_weights_say(folder: Path) -> None:
    mixture = mix(folder, "a:0.7,b:0.3")
    with reader(mixture, 10, range(10)) as rows:
        assert rows.steps_per_epoch == (65 + 21) // 10
        for step in range(20):
            assert (rows.read(step).tokens[:, 0] < 1000).sum() == 7
    assert mixture.epochs(10, 20) == (140 / 65, 60 / 21)


def test_one_folder_is_the_data_set_itself_with_or_without_a_weight(folder: Path) -> None:
    alone = open_dataset(folder / "a")
    for text in ("a", "a:3"):
        mixture = mix(folder, text)
        assert mixture == DataMixture(parts=(alone,), weights=(1,))
        assert mixture.digest == alone.digest
        with (
            reader(mixture, 8, range(8)) as one,
            LaneReader(alone, seed=5, global_batch_size=8, lanes=range(8)) as other,
        ):
            np.testing.assert_array_equal(one.read(11).tokens, other.read(11).tokens)


def test_the_digest_names_contents_weights_and_their_order(folder: Path) -> None:
    texts = ["a:7,b:3", "b:3,a:7", "a:7,b:2", "a:7,c:3", "a"]
    assert len({mix(folder, text).digest for text in texts}) == 5
    assert mix(folder, "a:0.7,b:0.3").digest == mix(folder, "a:14,b:6").digest


def test_a_weight_is_read_behind_the_last_colon(tmp_path: Path) -> None:
    assert parse_mixture("s3://bucket/a:0.7,hdfs://host:8020/b:3") == [
        ("s3://bucket/a", Fraction(7, 10)),
        ("hdfs://host:8020/b", Fraction(3)),
    ]
    assert parse_mixture("s3://bucket/a") == [("s3://bucket/a", Fraction(1))]
    assert parse_mixture("https://host:8080/a") == [("https://host:8080/a", Fraction(1))]
    assert parse_mixture("a:2, b c:1/3 ") == [("a", Fraction(2)), ("b c", Fraction(1, 3))]
    odd = tmp_path / "x,y:1"
    odd.mkdir()
    assert parse_mixture(str(odd)) == [(str(odd), Fraction(1))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b:0.3", "'a' of 'a,b:0.3' ends in no weight: write folder:weight"),
        ("a:0,b:1", "'a:0': the weight is not above 0; leave a out"),
        ("a:-1", "'a:-1': the weight is not above 0"),
        ("a:nan,b:1", "'a:nan' of 'a:nan,b:1' ends in no weight"),
        ("a:1,:2", "':2' of 'a:1,:2' names no folder"),
        ("a:1,", "'' of 'a:1,' ends in no weight"),
        ("a:1,a:2", "a is there twice in 'a:1,a:2': add its weights up"),
        ("a:1,b:1,./a/:2", "./a/ is there twice"),
        ("https://h/a/:1,https://h/a:2", "https://h/a is there twice"),
        ("a:100000,b:1", "round them to fewer digits"),
        ("a:1,nothing:1", "nothing: not a folder"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    folder: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match=message):
        open_mixture(text)


def test_data_sets_that_do_not_fit_together_are_refused_by_name(tmp_path: Path) -> None:
    def write(name: str, labels: bool = False, **changed: object) -> str:
        values = {"kind": "pretrain", "max_len": 9, "tokenizer_digest": "t", **changed}
        rows = numbered_rows(8, length=int(values["max_len"]))
        if labels:
            rows = [row | {"labels": row["input_ids"]} for row in rows]
        metadata = FileMetadata(**values)
        options = {"max_len": values["max_len"], "metadata": metadata}
        return str(write_folder(tmp_path / name, {"x.parquet": rows}, **options))

    first = write("first")
    others = {
        "kind": write("chats", labels=True, kind="ft"),
        "max_len": write("short", max_len=5),
        "tokenizer_digest": write("other tokenizer", tokenizer_digest="u"),
        "document_end_id": write("other end", document_end_id=3),
    }
    for what, other in others.items():
        with pytest.raises(ValueError, match=f"^{first} and {other} differ in {what}: "):
            open_mixture(f"{first}:1,{other}:1")
    foreign = write_folder(tmp_path / "foreign", {"x.parquet": numbered_rows(8)})
    assert open_mixture(f"{foreign}:1,{first}:1").tokenizer_digest == "t"
    with pytest.raises(ValueError, match="first and .*other tokenizer differ in tokenizer_digest"):
        open_mixture(f"{foreign}:1,{first}:1,{others['tokenizer_digest']}:1")


def test_a_data_set_with_fewer_rows_than_a_step_takes_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"c: has 9 rows, by its weight a step takes up to 10"):
        reader(mix(folder, "a:1,c:1"), 20, range(20))
