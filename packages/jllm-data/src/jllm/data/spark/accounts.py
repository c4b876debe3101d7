"""The accounts of partitions added up to that of the whole conversion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from jllm.data.account import LISTED, Account
from jllm.data.records import Problem


def add_up(partitions: Iterable[Mapping[str, Any]]) -> tuple[Account, int, int]:
    """The account of all, their rows, and the most entries of a row's `cu_seqlens`.

    They are added in the order of the input, so the first dropped records are listed.
    """
    account, rows, blocks = Account(), 0, 0
    for part in sorted(partitions, key=lambda part: (part["source"], part["first"])):
        account.read += part["read"]
        account.dropped += Counter(part["dropped"])
        account.truncated += Counter(part["truncated"])
        account.tokens += part["tokens"]
        account.trained_tokens += part["trained_tokens"]
        for listed in part["listed"][: LISTED - len(account.listed)]:
            problem = Problem(line=listed["line"], reason=listed["reason"], detail=listed["detail"])
            account.listed.append((listed["file"], problem))
        rows += part["rows"]
        blocks = max(blocks, part["max_num_blocks"])
    return account, rows, blocks
