"""https, memory and file URLs: what can be listed, what is named by its info file."""

from __future__ import annotations

import itertools
import json
import re
import threading
from itertools import cycle
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from faulty_server_helpers import FAULTS, files_of, only_waits_take_time, served
from jllm.data.reading.dataset import Dataset, open_dataset
from jllm.data.reading.mixture import open_mixture
from jllm.data.reading.reader import LaneReader
from jllm.data.reading.remote_row_groups import Pieces, RemoteRowGroups, ranges_of
from jllm.data.storage.paths import location
from jllm.data.storage.remote_path import RemotePath
from jllm.data.storage.retries import RemoteError, RetryPolicy
from parquet_helpers import INT32_LISTS, numbered_rows, write_folder, write_info

CALM = RetryPolicy(first_wait=0.01)
QUICK = RetryPolicy(request=1, total=300, first_wait=0.01, longest_wait=0.05)
"""For servers that stall."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path, {f"{n}.parquet": numbered_rows(9, first=9 * n) for n in range(3)})


def numbers(dataset: Dataset, steps: int = 9) -> list[int]:
    with LaneReader(dataset, seed=1, global_batch_size=4, lanes=range(4)) as rows:
        return [n for step in range(steps) for n in rows.read(step).tokens[:, 0].tolist()]


def test_a_static_server_is_read_by_the_info_files_list_with_faults_and_without(
    folder: Path,
) -> None:
    here = open_dataset(folder)
    with served(files_of(folder)) as (address, requests):
        dataset = open_dataset(f"{address}/data_info.json", retry_policy=CALM)
        assert dataset.digest == here.digest
        assert numbers(dataset) == numbers(here)
        faults = cycle([*FAULTS, None, None, None, None])
        requests.fault = lambda number: next(faults)
        assert numbers(open_dataset(f"{address}/data_info.json", retry_policy=QUICK)) == numbers(
            here
        )


def test_names_that_mean_something_in_a_url_are_quoted(tmp_path: Path) -> None:
    name = "50%20 #1? ü+&.parquet"
    folder = write_folder(tmp_path, {name: numbered_rows(9)})
    here = open_dataset(folder)
    with served(files_of(folder)) as (address, _):
        dataset = open_dataset(f"{address}/data_info.json", retry_policy=CALM)
        assert dataset.digest == here.digest and numbers(dataset) == numbers(here)
        assert dataset.row_groups[0].file.name == name


def test_what_http_cannot_do_is_refused(folder: Path) -> None:
    with served(files_of(folder)) as (address, _):
        with pytest.raises(ValueError, match=r"http cannot list a folder; name the info file"):
            open_dataset(address, retry_policy=CALM)
        with pytest.raises(RemoteError, match="other_info.json: 1 try in .* 404"):
            open_dataset(f"{address}/other_info.json", retry_policy=CALM)
        write_info(folder, num_samples=27, max_len=9)
        with pytest.raises(ValueError, match="data_info.json: lists no files"):
            open_dataset(f"{address}/data_info.json", retry_policy=CALM)


def test_a_server_without_ranges_is_refused_before_a_file_is_read_through(folder: Path) -> None:
    big = numbered_rows(2000, first=100)
    options = {"compression": "none", "use_dictionary": False}
    write_folder(folder, {"big.parquet": big}, row_group_size=500, **options)
    with served(files_of(folder, ranges=False)) as (address, requests):
        with pytest.raises(RemoteError, match="1 try .*the server sends the whole file"):
            open_dataset(f"{address}/data_info.json", retry_policy=CALM)
        assert sum(path.endswith("parquet") for _, path, _ in requests.seen) <= 2  # HEAD and GET


def test_memory_and_file_urls(folder: Path) -> None:
    system = fsspec.filesystem("memory")
    for path in folder.iterdir():
        system.pipe_file(f"/rows/{path.name}", path.read_bytes())
        system.pipe_file(f"/rows/.hidden/{path.name}", b"no data")
    here = open_dataset(folder)
    remote = open_dataset("memory://rows/", retry_policy=CALM)
    for path in folder.glob("*.parquet"):
        system.pipe_file(f"/foreign/{path.name}", path.read_bytes())
    system.pipe_file("/foreign/data_info.json", b'{"num_samples": 27, "max_len": 9}')
    foreign = open_dataset("memory://foreign", retry_policy=CALM)
    assert numbers(foreign) == numbers(here)
    system.pipe_file("/foreign/1.parquet", (folder / "1.parquet").read_bytes())
    with pytest.raises(ValueError, match="memory://foreign/1.parquet, row group .: the file has"):
        numbers(foreign)
    assert remote.is_remote and remote.digest == here.digest
    assert numbers(remote) == numbers(here)
    assert open_dataset(f"file://{folder}") == here
    assert location("file:///a%20b/c") == Path("/a b/c")
    assert open_mixture(f"memory://rows:2,{folder}:1").num_rows == 2 * 27


def test_a_request_has_a_time_limit_whatever_the_client(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client of memory:// is not asynchronous; every third of its answers never comes."""
    asked, answer, over = itertools.count(1), MemoryFileSystem.cat_file, threading.Event()

    def stall(*args: Any, **options: Any) -> bytes:
        if next(asked) % 3 == 0:
            over.wait()
        return answer(*args, **options)

    for path in folder.iterdir():
        fsspec.filesystem("memory").pipe_file(f"/stalls/{path.name}", path.read_bytes())
    monkeypatch.setattr(MemoryFileSystem, "cat_file", stall)
    retry_policy = RetryPolicy(request=0.1, total=300, first_wait=0.01, longest_wait=0.05)
    assert numbers(open_dataset("memory://stalls", retry_policy=retry_policy)) == numbers(
        open_dataset(folder)
    )
    assert next(asked) > 9
    monkeypatch.setattr(MemoryFileSystem, "cat_file", lambda *args, **options: over.wait())
    with only_waits_take_time(), pytest.raises(RemoteError) as caught:
        RemotePath("memory://stalls/0.parquet", RetryPolicy(request=0.02, total=0.3)).read(0, 9)
    over.set()
    assert re.search(r"2 tries in 0\.[1-3] s, at last: TimeoutError", str(caught.value))


def test_hdfs_without_a_client_is_an_error_with_its_mend() -> None:
    with pytest.raises(ValueError, match=r"^hdfs:// needs .* pip install 'jllm-data\[hdfs\]'"):
        open_dataset("hdfs://127.0.0.1:1/rows", retry_policy=CALM)


def test_paths_of_urls() -> None:
    path = RemotePath("s3://bucket/a")
    assert str(path / "x/b.parquet") == "s3://bucket/a/x/b.parquet"
    assert (path / "b").parent == path and (path / "x/b").name == "b"
    assert (path / "x/b").relative_to(path).parts == ("x", "b")


@pytest.mark.parametrize("name", ["../x.parquet", "/etc/x.parquet", "a/../../x", "", 3])
def test_names_that_lead_out_of_the_folder_are_refused(folder: Path, name: object) -> None:
    info = json.loads((folder / "data_info.json").read_text())
    info["files"][0]["name"] = name
    (folder / "data_info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match="data_info.json: lists the file .*, expected a name in"):
        open_dataset(folder)


@pytest.mark.parametrize("text", ["", "s3://", "hdfs:///", "https://"])
def test_what_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="an empty name|names no host"):
        open_dataset(text)


def test_a_server_that_is_not_there_is_said_so() -> None:
    message = "[3-5] tries in .* ClientConnectorError Cannot connect"
    with only_waits_take_time(), pytest.raises(RemoteError, match=message):
        open_dataset(
            "http://127.0.0.1:1/data_info.json",
            retry_policy=RetryPolicy(first_wait=0.01, total=0.1),
        )


def test_an_unknown_protocol_is_an_error_that_names_the_url() -> None:
    with pytest.raises(ValueError, match="nothing://x: Protocol not known: nothing"):
        open_dataset("nothing://x/y", retry_policy=CALM)


def test_only_the_columns_that_are_read_are_asked_for(tmp_path: Path) -> None:
    """A large column between them is left out, a small one is read along."""
    for between, count in ((10, 1), (60_000, 2)):
        rows = [
            {"input_ids": [1, 2, 3], "other": range(between), "cu_seqlens": [0, 2]}
            for _ in range(4)
        ]
        path = tmp_path / f"{between}.parquet"
        columns = {name: pa.array([row[name] for row in rows], INT32_LISTS) for name in rows[0]}
        pq.write_table(pa.table(columns), path, compression="none", use_dictionary=False)
        footer = pq.read_metadata(path)
        assert len(ranges_of(footer, 0, ("input_ids", "cu_seqlens"))) == count
        content = path.read_bytes()
        fsspec.filesystem("memory").pipe_file(f"/{between}.parquet", content)
        found = RemoteRowGroups(1).read(
            RemotePath(f"memory://{between}.parquet"), len(content), 0, ["input_ids", "cu_seqlens"]
        )
        assert found.to_pylist() == [{k: list(r[k]) for k in found.column_names} for r in rows]


def test_pieces_of_a_file_give_their_own_bytes_and_no_others() -> None:
    file = Pieces(100, [(10, bytes(range(10, 20))), (50, bytes(range(50, 60)))])
    assert (file.seek(-48, 2), file.read(3), file.tell()) == (52, bytes([52, 53, 54]), 55)
    assert (file.seek(10), file.read(10)) == (10, bytes(range(10, 20)))
    with pytest.raises(OSError, match="bytes 20 to 21 belong to no column"):
        file.read(1)
    np.testing.assert_equal(file.seek(0, 2), 100)
    with pytest.raises(OSError, match="bytes 15 to 25"):
        file.seek(15)
        file.read(10)
