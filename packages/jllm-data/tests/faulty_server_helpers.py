"""A loopback HTTP proxy that fails as networks do, and a folder served with ranges."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest

from jllm.data.storage.retries import retry

Answer = tuple[int, Mapping[str, str], bytes]
"""Status, headers, body (also for HEAD, of which only the length is sent)."""

FAULTS = ("500", "503", "reset", "truncate", "stall")
LONGEST_STALL = 60
"""Seconds; hundreds of times the limit of a request in the tests that stall."""


@dataclass
class Requests:
    """What was asked, and what goes wrong with it."""

    fault: Callable[[int], str | None] = lambda number: None
    """The fault of the n-th request, from 0."""
    seen: list[tuple[str, str, int]] = field(default_factory=list)
    """(method, path, bytes of the body that was sent), of all requests."""
    over: threading.Event = field(default_factory=threading.Event)
    """Ends the stalls."""
    outlasted: int = 0
    """Stalls that nobody ended in LONGEST_STALL seconds: whoever asked has no time limit."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def content(self) -> list[tuple[str, int]]:
        """(path, bytes) of every GET of a file, not of a listing."""
        return [(p, n) for method, p, n in self.seen if method == "GET" and "list-type" not in p]


@contextmanager
def served(answer: Callable[[BaseHTTPRequestHandler], Answer]) -> Iterator[tuple[str, Requests]]:
    """Serve what `answer` gives, spoilt by the `fault` of the requests: (address, requests)."""
    requests = Requests()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            with requests.lock:
                number = len(requests.seen)
                requests.seen.append((self.command, self.path, 0))
            fault = requests.fault(number)
            if fault == "stall":
                requests.outlasted += not requests.over.wait(LONGEST_STALL)
            if fault in ("stall", "reset"):
                linger = struct.pack("ii", 1, 0)  # close sends RST
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()
                return
            status, headers, body = answer(self)
            if fault in ("500", "503"):
                status, headers, body = int(fault), {}, b""
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | dict(headers)).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if fault == "truncate":
                body = body[: len(body) // 2]
                self.close_connection = True
            self.wfile.write(body)
            requests.seen[number] = (self.command, self.path, len(body))

        do_GET = do_HEAD = handle_one  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that went away

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        requests.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def forward(port: int) -> Callable[[BaseHTTPRequestHandler], Answer]:
    """Asks the server at `port` of this machine the same."""

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request(request.command, request.path, headers=dict(request.headers))
        found = connection.getresponse()
        body = found.read()
        kept = {
            name: value
            for name, value in found.getheaders()
            if name.lower() not in ("connection", "transfer-encoding", "date", "server")
        }
        connection.close()
        return found.status, kept, body

    return answer


def files_of(folder: Path, ranges: bool = True) -> Callable[[BaseHTTPRequestHandler], Answer]:
    """Serves a folder's files; with `ranges` as a static server does that knows them."""

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        path = folder / unquote(request.path.partition("?")[0].lstrip("/"))
        if not path.is_file():
            return 404, {}, b""
        body = path.read_bytes()
        headers = {"ETag": f'"{path.stat().st_mtime_ns}"', "Accept-Ranges": "bytes"}
        asked = request.headers.get("Range")
        if not ranges or asked is None:
            return 200, headers, body
        first, last = (int(n) for n in asked.removeprefix("bytes=").split("-"))
        headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        return 206, headers, body[first : last + 1]

    return answer


@contextmanager
def only_waits_take_time() -> Iterator[None]:
    """For `retry` time passes by its own waits alone, without waiting, in each thread."""

    class Clock(threading.local):
        now = 0.0

    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.now += seconds

    fake = SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(retry.__globals__, "time", fake)
        yield
