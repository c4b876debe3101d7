"""Retries of network operations, with increasing waits and a time limit.

Only the timing is random: the waits are spread, so that many readers that failed together do not
retry together.
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
"""The seconds of trying after which a warning is logged, once."""


class RemoteError(OSError):
    """A remote read failed for good, after all retries; the message names the URL."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """The limits on waiting for a remote file, in seconds."""

    request: float = 30
    """The longest that one request may take: a stalled one has failed."""
    total: float = 300
    """The time after the first try within which every other try begins."""
    first_wait: float = 0.25
    """The wait between the first two tries; it doubles each time, less up to half at random."""
    longest_wait: float = 20


_LASTING = (
    FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ValueError,
    TypeError, LookupError, ImportError, NotImplementedError,
)  # fmt: skip


def is_permanent(error: Exception) -> bool:
    """Return whether a retry cannot help: missing file, no permission, malformed request."""
    error = _cause(error)
    status = getattr(error, "status", None)  # aiohttp's errors have one
    if isinstance(status, int):
        return 400 <= status < 500 and status not in (408, 429)
    return isinstance(error, _LASTING) or "Credential" in type(error).__name__


def _cause(error: Exception) -> Exception:
    """Return the real error: fsspec raises FileNotFoundError for any failed HEAD over http."""
    cause = error.__cause__
    from_http = type(cause).__module__.startswith("aiohttp") and isinstance(cause, Exception)
    return cause if from_http else error


def retry(work: Callable[[], Result], what: str, retry_policy: RetryPolicy) -> Result:
    """Call `work` until it succeeds, and return its result.

    Raises RemoteError that begins with `what` (the URL) and gives the number of tries, the time and
    the last error. A wait of more than a few seconds is logged (standard error).
    """
    start, tries, told = time.monotonic(), 0, False
    while True:
        tries += 1
        try:
            return work()
        except Exception as error:  # any error of a protocol's library; raised again below
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
