"""Garbage collection put off while much is made that stays."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collection_put_off() -> Iterator[None]:
    """Within it (also as a decorator) Python does not look for cycles of garbage.

    It does so whenever there are many new objects, among all: a sixth of the time of importing
    Transformers and of reading vocabularies, in vain.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
