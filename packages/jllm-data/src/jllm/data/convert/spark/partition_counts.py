"""Record counts of a partition as text, and their sum over the whole conversion."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from jllm.data.format.record_counts import RecordCounts, record_counts_of
from jllm.data.format.row_multiset import RowMultiset


@dataclass(frozen=True, kw_only=True)
class Totals:
    """The sum over all partitions."""

    account: RecordCounts
    bag: RowMultiset
    """Of the rows that were made."""
    max_num_blocks: int
    """The most entries of a row's `cu_seqlens`."""


def account_text(
    source: str, first: int, account: RecordCounts, bag: RowMultiset, max_num_blocks: int
) -> str:
    """Return the counts of the partition of a file that begins with record `first`, as JSON."""
    return json.dumps(
        {
            "source": source,
            "first": first,
            "account": account.tree(),
            "bag": asdict(bag),
            "max_num_blocks": max_num_blocks,
        }
    )


def add_up(texts: Iterable[str]) -> Totals:
    """Return the sum over all partitions, from the texts of `account_text`.

    They are added in input order, so the dropped records listed are the first ones.
    """
    account, bag, blocks = RecordCounts(), RowMultiset(), 0
    partitions = map(json.loads, texts)
    for part in sorted(partitions, key=lambda part: (part["source"], part["first"])):
        account.add(record_counts_of(part["account"]))
        bag += RowMultiset(**part["bag"])
        blocks = max(blocks, part["max_num_blocks"])
    return Totals(account=account, bag=bag, max_num_blocks=blocks)
