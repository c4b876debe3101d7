"""An S3 server that fails and stalls gives the same batches as local files, or a clear error."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from faulty_server_helpers import FAULTS, Requests, forward, only_waits_take_time, served
from jllm.data.reading.dataset import Dataset, open_dataset
from jllm.data.reading.mixture import open_mixture
from jllm.data.reading.reader import LaneReader
from jllm.data.reading.remote_row_groups import ranges_of
from jllm.data.reading.row_groups import RowGroupFiles
from jllm.data.storage.retries import RemoteError, RetryPolicy
from parquet_helpers import numbered_rows, write_folder, write_parquet

SIZE, LENGTH = 6, 257
CALM = RetryPolicy(first_wait=0.01)
QUICK = RetryPolicy(request=1, total=300, first_wait=0.01, longest_wait=0.05)
URL = "s3://bucket/some/rows"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture(scope="module")
def proxy(port: int) -> Iterator[Requests]:
    with pytest.MonkeyPatch.context() as patch, served(forward(port)) as (address, requests):
        for name, value in {
            "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": address,
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        yield requests


@pytest.fixture
def requests(proxy: Requests) -> Iterator[Requests]:
    proxy.fault = lambda number: None
    proxy.seen.clear()
    proxy.over.clear()
    yield proxy
    proxy.over.set()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, port: int, proxy: Requests) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    files = {
        f"{name}.parquet": numbered_rows(24, first=i, length=LENGTH)
        for i, name in ((0, "a"), (24, "x/b"))
    }
    write_folder(folder, files, max_len=LENGTH, compression="none", use_dictionary=False)
    upload(folder, port)
    return folder


def upload(folder: Path, port: int, prefix: str = "some/rows") -> None:
    """What lies in `folder`, and files that are no data."""
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    client.create_bucket(Bucket="bucket")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            client.put_object(Bucket="bucket", Key=f"{prefix}/{name}", Body=path.read_bytes())
    client.put_object(Bucket="bucket", Key=f"{prefix}/_temporary/c.parquet", Body=b"no")


def reader(dataset: Dataset, size: int = SIZE) -> LaneReader:
    return LaneReader(dataset, seed=3, global_batch_size=size, lanes=range(size))


def assert_equal_batches(remote: Dataset, local: Dataset, steps: int = 17) -> None:
    with reader(remote) as one, reader(local) as other:
        for step in [*range(steps), 10**6]:
            found, expected = one.read(step), other.read(step)
            np.testing.assert_array_equal(found.tokens, expected.tokens)
            np.testing.assert_array_equal(found.targets, expected.targets)
            assert [b.tolist() for b in found.bounds] == [b.tolist() for b in expected.bounds]


def test_batches_and_digest_are_those_of_the_local_files(local: Path, requests: Requests) -> None:
    remote, here = open_dataset(URL, retry_policy=CALM), open_dataset(local)
    assert remote.digest == here.digest
    assert str(remote.row_groups[-1].file) == f"{URL}/x/b.parquet"
    assert_equal_batches(remote, here)


def test_opening_reads_info_and_footers_and_a_row_group_is_one_request_for_its_bytes(
    local: Path, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    tail = 4096
    monkeypatch.setattr("jllm.data.reading.footer._TAIL", tail)
    dataset = open_dataset(URL, retry_policy=CALM)
    assert sorted(path.rpartition("/")[2] for path, _ in requests.content()) == [
        "a.parquet", "b.parquet", "data_info.json",
    ]  # fmt: skip
    info = (local / "data_info.json").stat().st_size
    assert sum(size for _, size in requests.content()) == info + 2 * tail
    footer = pq.read_metadata(local / "a.parquet")
    assert footer.serialized_size < tail < (local / "a.parquet").stat().st_size / 4

    files, expected = RowGroupFiles(dataset), RowGroupFiles(open_dataset(local))
    for row_group, before in ((0, [tail]), (1, [])):  # the footer once more, then no more
        requests.seen.clear()
        found = files.read(row_group).ids.values
        np.testing.assert_array_equal(found, expected.read(row_group).ids.values)
        wanted = ranges_of(footer, row_group, dataset.fields)
        assert [size for _, size in requests.content()] == [*before, *map(len, wanted)]
        assert len(wanted) == 1
        assert len(wanted[0]) < 1.2 * 4 * LENGTH * found.itemsize + 300


@pytest.mark.parametrize("seed", [0, 1])
def test_a_storm_of_faults_changes_no_bit(local: Path, requests: Requests, seed: int) -> None:
    chance = random.Random(seed)
    faults = [chance.choice((*FAULTS, None, None, None)) for _ in range(40)]
    requests.fault = lambda number: faults[number] if number < len(faults) else None
    assert_equal_batches(open_dataset(URL, retry_policy=QUICK), open_dataset(local), steps=8)
    assert len(requests.seen) > 40
    assert {fault for fault in faults if fault} == set(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_goes_on_failing_is_an_error_after_the_tries_that_the_limit_allows(
    local: Path, requests: Requests, fault: str
) -> None:
    """Waits of 0.02 s to 0.64 s, each spread between a half and the whole: at 0.6 s it ends."""
    with only_waits_take_time():
        dataset = open_dataset(
            URL, retry_policy=RetryPolicy(request=0.3, total=0.6, first_wait=0.02)
        )
        requests.fault = lambda number: fault
        requests.seen.clear()
        with reader(dataset) as rows, pytest.raises(RemoteError) as caught:
            rows.read(0)
    message = str(caught.value)
    assert f"{URL}/" in message and ", row group " in message
    assert re.search(r": [5-7] tries in 0\.[3-6] s, at last: ", message)
    most = 2 * 7 * len(dataset.row_groups)  # aiohttp asks again where a kept connection is reset
    assert 5 <= len(requests.seen) <= most
    assert requests.outlasted == 0


def test_what_cannot_get_better_is_tried_once(local: Path, requests: Requests, port: int) -> None:
    dataset = open_dataset(URL, retry_policy=CALM)
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    kept = {
        group.file: client.get_object(Bucket="bucket", Key=group.file.url[12:])["Body"].read()
        for group in dataset.row_groups
    }
    requests.seen.clear()
    try:
        for file in kept:
            client.delete_object(Bucket="bucket", Key=file.url[12:])
        message = "1 try .*FileNotFoundError"
        with reader(dataset) as rows, pytest.raises(RemoteError, match=message):
            rows.read(0)
    finally:
        for file, content in kept.items():
            client.put_object(Bucket="bucket", Key=file.url[12:], Body=content)
    with pytest.raises(ValueError, match="s3://bucket/nothing: holds no"):
        open_dataset("s3://bucket/nothing", retry_policy=CALM)
    with pytest.raises(RemoteError, match="s3://no-bucket/rows: 1 try"):
        open_dataset("s3://no-bucket/rows", retry_policy=CALM)


@pytest.mark.parametrize("digests", [True, False])
def test_a_file_that_changes_under_the_reader_is_an_error(
    tmp_path: Path, port: int, requests: Requests, digests: bool
) -> None:
    folder = write_folder(tmp_path, {"a.parquet": numbered_rows(8)}, digests=digests)
    upload(folder, port, f"changing/{digests}")
    dataset = open_dataset(f"s3://bucket/changing/{digests}", retry_policy=CALM)
    write_parquet(folder / "a.parquet", numbered_rows(8, first=8))
    upload(folder, port, f"changing/{digests}")
    message = "digest is .*, the info file states" if digests else "the file has .* bytes"
    where = f"s3://bucket/changing/{digests}/a.parquet, row group [01]: "
    with reader(dataset, 1) as rows, pytest.raises(ValueError, match=f"{where}{message}"):
        rows.read(0)
        rows.read(4)


def test_a_mixture_reads_urls_and_local_folders_alike(
    local: Path, tmp_path: Path, requests: Requests
) -> None:
    twin = shutil.copytree(local, tmp_path / "twin")
    mixture, here = open_mixture(f"{URL}:2,{local}:1"), open_mixture(f"{twin}:2,{local}:1")
    with (
        LaneReader(mixture, seed=3, global_batch_size=SIZE, lanes=range(SIZE)) as one,
        LaneReader(here, seed=3, global_batch_size=SIZE, lanes=range(SIZE)) as other,
    ):
        for step in range(9):
            np.testing.assert_array_equal(one.read(step).tokens, other.read(step).tokens)
