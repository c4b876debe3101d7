"""Files at a URL (s3://, hdfs://, https://, …), as far as reading data needs them.

The only module that uses fsspec (the extra `remote`; `s3` adds s3fs). Every request is for a range
of bytes, has a time limit and is retried with increasing waits (`retries`); a response shorter than
requested counts as failed. Credentials and endpoints are those of the protocol's library:
AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, FSSPEC_S3_KEY, …
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

from jllm.data.storage.retries import RetryPolicy, retry

_LONGEST_READ = 16 << 20
"""The most bytes of one request: larger ranges take several, each with its own time limit."""

_ONE_TRY = {"config_kwargs": {"retries": {"total_max_attempts": 1}}}
"""Options of s3fs that leave retries to `retry`."""

_EXTRAS = {"s3": "s3", "s3a": "s3", "hdfs": "hdfs", "viewfs": "hdfs"}
"""The extra that a protocol needs; other protocols need `remote`."""

_CHANGES_WITH_CONTENT = (
    *("ETag", "etag", "mtime", "modification_time", "modificationTime"),
    *("LastModified", "Last-Modified", "last_modified", "updated", "created"),
)


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """The identity of a file's version: tells whether the file has changed."""

    size: int
    """Bytes."""
    version: str
    """The ETag or the modification time, whichever the file system has."""


@dataclass(frozen=True)
class RemotePath:
    """A remote file or folder, with a small part of the interface of `pathlib.Path`."""

    url: str
    retry_policy: RetryPolicy = field(default=RetryPolicy(), compare=False, repr=False)
    listed: Stamp | None = field(default=None, compare=False, repr=False)
    """The stamp from its folder's listing, which saves a request."""

    def __str__(self) -> str:
        """Return the URL."""
        return self.url

    def __truediv__(self, name: str) -> RemotePath:
        """Return a file below this folder; in http(s) URLs the name is quoted."""
        quoted = name if has_listing(self) else quote(name)
        return RemotePath(f"{self.url.rstrip('/')}/{quoted}", self.retry_policy)

    @property
    def name(self) -> str:
        """The part after the last slash."""
        last = self.url.rstrip("/").rpartition("/")[2]
        return last if has_listing(self) else unquote(last)

    @property
    def parent(self) -> RemotePath:
        """The folder that it lies in."""
        return RemotePath(self.url.rstrip("/").rpartition("/")[0], self.retry_policy)

    def relative_to(self, folder: RemotePath) -> PurePosixPath:
        """Return the path relative to `folder`, which is above it."""
        below = self.url.removeprefix(folder.url.rstrip("/") + "/")
        return PurePosixPath(below if has_listing(self) else unquote(below))

    def stamp(self) -> Stamp:
        """Return the current size and version: one request without content."""

        def ask() -> Mapping[str, Any]:
            system, path = _open(self.url)
            system.invalidate_cache()
            return _call(system, "info", path, timeout=self.retry_policy.request)

        return _stamp(retry(ask, self.url, self.retry_policy), self.url)

    def read(self, start: int, end: int) -> bytes:
        """Return bytes start … end − 1. Raises RemoteError where they cannot be read."""
        bounds = [*range(start, end, _LONGEST_READ), end]
        return b"".join(self._read(a, b) for a, b in zip(bounds, bounds[1:], strict=False))

    def _read(self, start: int, end: int) -> bytes:
        def ask() -> bytes:
            system, path = _open(self.url)
            timeout = self.retry_policy.request
            found = _call(system, "cat_file", path, start=start, end=end, timeout=timeout)
            if len(found) > end - start:
                raise ValueError("the server sends the whole file where a range was asked for")
            if len(found) < end - start:
                raise OSError(f"{len(found)} bytes came, {end - start} were asked for")
            return found

        return retry(ask, f"{self.url}, bytes {start} to {end}", self.retry_policy)

    def files(self) -> Iterator[RemotePath]:
        """Yield every file below this folder, with its stamp, in no particular order."""

        def ask() -> Mapping[str, Mapping[str, Any]]:
            system, path = _open(self.url)
            system.invalidate_cache()
            return _call(system, "find", path, detail=True, timeout=self.retry_policy.request)

        base = _open(self.url)[1].rstrip("/") + "/"
        for path, about in retry(ask, self.url, self.retry_policy).items():
            url = f"{self.url.rstrip('/')}/{path.removeprefix(base)}"
            # Times may differ between a listing and the file itself; ETags do not.
            listed = _stamp(about, url) if about.get("ETag") else None
            yield RemotePath(url, self.retry_policy, listed)


def is_remote(path: object) -> bool:
    """Return whether `path` is a URL, not a local path."""
    return "://" in str(path) and not str(path).startswith("file://")


def has_listing(path: RemotePath) -> bool:
    """Return whether the protocol can list folders; http cannot."""
    return not path.url.startswith(("http://", "https://"))


def _stamp(about: Mapping[str, Any], url: str) -> Stamp:
    if not isinstance(about.get("size"), int):
        raise ValueError(f"{url}: the server does not say how large it is; copy the folder here")
    version = next((str(about[key]) for key in _CHANGES_WITH_CONTENT if about.get(key)), "")
    return Stamp(size=about["size"], version=version)


def _open(url: str) -> tuple[Any, str]:
    """Return the file system of a URL (one per process and host) and the path in it."""
    protocol, _, rest = url.partition("://")
    system = _system(os.getpid(), protocol, rest.partition("/")[0])
    return system, system._strip_protocol(url)


@cache
def _system(process: int, protocol: str, host: str) -> Any:
    del process  # a file system's threads do not survive a fork
    extra = _EXTRAS.get(protocol, "remote")
    options: dict[str, Any] = {"skip_instance_cache": True}
    if extra != "hdfs":  # Hadoop takes every option as a setting
        options["use_listings_cache"] = False
    if extra == "s3":
        options |= _ONE_TRY
    try:
        import fsspec

        system, _ = fsspec.core.url_to_fs(f"{protocol}://{host}/", **options)
    except ImportError as error:
        raise ValueError(
            f"{protocol}:// needs more packages ({error}): pip install 'jllm-data[{extra}]'"
        ) from error
    except OSError as error:
        if "libhdfs" not in str(error) and "libjvm" not in str(error):
            raise
        raise ValueError(
            f"{protocol}:// needs a client of Hadoop's: pip install 'jllm-data[hdfs]' (Arrow's own "
            "needs libhdfs and Java)"
        ) from error
    except ValueError as error:
        raise ValueError(f"{protocol}://{host}: {error}") from error
    if hasattr(system, "retries"):
        system.retries = 1  # s3fs's own retries, besides those of botocore
    return system


def _call(system: Any, name: str, *arguments: Any, timeout: float, **options: Any) -> Any:
    """Call a method of a file system. Raises TimeoutError after `timeout` seconds.

    A synchronous client cannot be stopped: its call goes on in a thread of its own, and the result
    is dropped.
    """
    if system.async_impl:
        from fsspec.asyn import sync

        work = getattr(system, f"_{name}")
        return sync(system.loop, work, *arguments, timeout=timeout, **options)
    answer: Future[Any] = Future()

    def ask() -> None:
        try:
            answer.set_result(getattr(system, name)(*arguments, **options))
        except BaseException as error:  # raised in the waiting thread
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return answer.result(timeout)
