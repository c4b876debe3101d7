"""Runs a function in a process that cannot take much memory."""

import multiprocessing
import resource
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

PAGE = resource.getpagesize()


def error_under_limit(more_bytes: int, function: Callable[[], object]) -> str:
    """The error (its type and text) of `function`, or what it returns, with so much more memory.

    It runs in a fork of this process, whose address space may grow by `more_bytes`; a crash is an
    EOFError here.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(more_bytes, function, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def _run(more_bytes: int, function: Callable[[], object], sender: Connection) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
    resource.setrlimit(resource.RLIMIT_AS, (used + more_bytes, used + more_bytes))
    try:
        result = f"returned {function()}"
    except BaseException as error:
        result = f"{type(error).__name__}: {error}"
    sender.send(result)
