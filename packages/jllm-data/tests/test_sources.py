"""Work units hold whole records, all of them, whatever the limits."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jllm.data.format.record_counts import Problem
from jllm.data.records import splits as cutting
from jllm.data.records.input_files import find_sources
from jllm.data.records.parse import Text, read_records
from jllm.data.records.splits import InputSplit, cut_splits, read_split

BYTES = st.lists(
    st.sampled_from(
        [b"\n", b"\n\n", b"\r\n", b"\r\n\r\n", b"a", b"bb ", "é".encode(), b'{"text":"x"}']
    ),
    max_size=40,
).map(b"".join)


def units_of(path: Path, *, max_lines: int) -> list[InputSplit]:
    (source,), _ = find_sources(path, chats=False)
    return list(cut_splits(source, max_lines=max_lines))


def records_of(path: Path, *, max_lines: int) -> list[tuple[int, str]]:
    """(line, text or what is wrong) of every record."""
    return [
        (record.line, record.text if isinstance(record, Text) else record.reason)
        for unit in units_of(path, max_lines=max_lines)
        for record in read_records(unit, read_split(unit), "pretrain")
        if isinstance(record, Text | Problem)
    ]


@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
def test_records_do_not_depend_on_where_units_are_cut(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"data{suffix}"

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=BYTES, size=st.integers(1, 30), lines=st.integers(1, 6))
    def check(data: bytes, size: int, lines: int) -> None:
        path.write_bytes(data)
        monkeypatch.setattr(cutting, "SPLIT_BYTES", 10_000)
        whole = records_of(path, max_lines=10_000)
        monkeypatch.setattr(cutting, "SPLIT_BYTES", size)
        assert records_of(path, max_lines=lines) == whole
        units = units_of(path, max_lines=lines)
        assert b"".join(map(read_split, units)) == data

    check()


def test_paragraphs_are_what_lies_between_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes(b"\n\none\ntwo\n\n\n\n three \n\n \n\n\xff")
    assert records_of(path, max_lines=100) == [
        (3, "one\ntwo"),
        (8, " three "),
        (12, "invalid UTF-8"),
    ]


def test_every_record_is_read_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"text": "a"}\n\n  \n{"text": "b\\nc"}\r\n{"text": 3}\n{"text": "d"}')
    expected = [(1, "a"), (4, "b\nc"), (5, "not a string"), (6, "d")]
    assert records_of(path, max_lines=2) == expected


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"text": "a"}\n' * 9)
    (unit,) = units_of(path, max_lines=100)
    path.write_bytes(b'{"text": "a"}\n')
    with pytest.raises(OSError, match="became shorter"):
        read_split(unit)


def test_what_is_not_input_is_refused_or_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        find_sources(tmp_path / "absent", chats=False)
    (tmp_path / "a.csv").touch()
    with pytest.raises(ValueError, match=r"holds no file \*.jsonl, \*.txt \(or compressed"):
        find_sources(tmp_path, chats=False)
    with pytest.raises(ValueError, match=r"expected \*.jsonl, \*.txt \(or compressed"):
        find_sources(tmp_path / "a.csv", chats=False)
    (tmp_path / "a.txt").touch()
    (tmp_path / ".hidden.txt").touch()
    found, passed_over = find_sources(tmp_path, chats=False)
    assert [source.name for source in found] == ["a"] and passed_over == [tmp_path / "a.csv"]
    (tmp_path / "a.jsonl.gz").touch()
    with pytest.raises(ValueError, match="a.jsonl.gz, a.txt would have outputs of one name"):
        find_sources(tmp_path, chats=False)


def test_folders_are_read_with_the_folders_in_them_by_names_that_stay_apart(
    tmp_path: Path,
) -> None:
    for name in ("b/x.jsonl", "a/x.txt.zst", "a/b/x.jsonl.gz", "x.jsonl", "out/old.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "_temporary").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    found, passed_over = find_sources(tmp_path, chats=False, leave_out=tmp_path / "out")
    assert [(s.relative, s.name, s.layout, s.codec) for s in found] == [
        ("a/b/x.jsonl.gz", "a__b__x", "lines", "gzip"),
        ("a/x.txt.zst", "a__x", "paragraphs", "zstd"),
        ("b/x.jsonl", "b__x", "lines", None),
        ("x.jsonl", "x", "lines", None),
    ]
    assert passed_over == [tmp_path / "_temporary", tmp_path / "linked"]
    (tmp_path / "a__b__x.jsonl").touch()
    with pytest.raises(ValueError, match="a/b/x.jsonl.gz, a__b__x.jsonl would have outputs of one"):
        find_sources(tmp_path, chats=False, leave_out=tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("n" * 210 + ".jsonl", "outputs would begin with 210 bytes"),
        ("_a.jsonl", "which readers pass over"),
        ("\udcff.jsonl", "the name is not UTF-8"),
    ],
)
def test_names_that_cannot_be_those_of_outputs_are_refused(
    tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=said):
        find_sources(tmp_path / name, chats=True)


@pytest.mark.parametrize("name", ["../a.jsonl", "a", "a.csv", ".jsonl", "a.txt/", ""])
def test_the_name_of_standard_input_says_its_form(name: str) -> None:
    with pytest.raises(ValueError, match=f"--stdin_name {name}: expected a file name"):
        find_sources(Path("-"), chats=True, stdin_name=name)
    (source,), _ = find_sources(Path("-"), chats=False, stdin_name="a.txt.gz")
    assert (source.name, source.layout, source.codec, source.size) == (
        "a", "paragraphs", "gzip", None,
    )  # fmt: skip
