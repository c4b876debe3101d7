"""Do something that the network may spoil until it succeeds: a time limit, longer and longer waits.

Only time depends on chance: the waits are spread at random, so that many readers that failed
together do not come back together.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")

_SILENCE = 5
"""Seconds of trying after which people are told, once."""


class RemoteError(OSError):
    """Something remote could not be read, however often it was tried; names the URL."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long is waited for a remote file, in seconds."""

    request: float = 30
    """The longest that one request may take: a stalled one counts as failed."""
    total: float = 300
    """No try begins later than this after the first."""
    first_wait: float = 0.25
    """Between the first two tries; it doubles from try to try, less up to a half by chance."""
    longest_wait: float = 20


_LASTING = (
    FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ValueError,
    TypeError, LookupError, ImportError, NotImplementedError,
)  # fmt: skip


def is_permanent(error: Exception) -> bool:
    """Return whether trying again cannot help: no such file, no right to it, a request that is
    wrong.
    """
    error = _cause(error)
    status = getattr(error, "status", None)  # of aiohttp's errors
    if isinstance(status, int):
        return 400 <= status < 500 and status not in (408, 429)
    return isinstance(error, _LASTING) or "Credential" in type(error).__name__


def _cause(error: Exception) -> Exception:
    """Return what was wrong: fsspec says FileNotFoundError for whatever a HEAD over http gave."""
    cause = error.__cause__
    from_http = type(cause).__module__.startswith("aiohttp") and isinstance(cause, Exception)
    return cause if from_http else error


def retry(work: Callable[[], Result], what: str, retry_policy: RetryPolicy) -> Result:
    """Return what `work` gives, once it does.

    RemoteError begins with `what` (the URL) and says how often it was tried, how long and what went
    wrong last. Whoever waits longer than a few seconds is told by the log (standard error).
    """
    start, tries, told = time.monotonic(), 0, False
    while True:
        tries += 1
        try:
            return work()
        except Exception as error:  # whatever a protocol's library raises; raised again below
            wait = min(retry_policy.longest_wait, retry_policy.first_wait * 2 ** (tries - 1))
            wait *= random.uniform(0.5, 1)
            taken = time.monotonic() - start
            cause = _cause(error)
            said = f"{type(cause).__name__} {cause}".strip().partition("\n")[0]
            if is_permanent(error) or taken + wait > retry_policy.total:
                count = "1 try" if tries == 1 else f"{tries} tries"
                raise RemoteError(f"{what}: {count} in {taken:.1f} s, at last: {said}") from error
            if not told and taken + wait > _SILENCE:
                logging.getLogger(__name__).warning(
                    "%s: %s; it is tried again for up to %.0f s", what, said, retry_policy.total
                )
                told = True
            time.sleep(wait)
