"""Limits on the counts that a row group states, so that no bad file can take all memory.

Files may be bad by mistake or by malice: a footer of a few bytes can state anything, and a page of
a few bytes can hold billions of equal ids. Counts within these limits may still not fit into
memory; reading then is an error as well.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow.parquet as pq

MAX_FOOTER_BYTES = 1 << 27
MAX_INFO_BYTES = 1 << 30
MAX_GROUP_ROWS = 1 << 24
MAX_GROUP_VALUES = 1 << 30
"""The most values of one column: 4 GiB of ids."""
MAX_LENGTH = 1 << 24
"""The largest `max_len`."""


class TooLarge(Exception):
    """A row group states a count above the limits."""


def check_footer_length(tail: bytes) -> None:
    """Raise TooLarge where the last 8 bytes of a parquet file state an absurd footer length."""
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] == b"PAR1" and length > MAX_FOOTER_BYTES:
        raise TooLarge(
            f"states a footer of {length:,} bytes, expected at most {MAX_FOOTER_BYTES:,}"
        )


def check_rows(group_rows: Collection[int]) -> None:
    """Raise TooLarge for an absurd number of rows in a row group."""
    for rows in group_rows:
        if not 0 <= rows <= MAX_GROUP_ROWS:
            raise TooLarge(f"states {rows:,} rows, expected at most {MAX_GROUP_ROWS:,} a row group")


def check_values(
    footer: pq.FileMetaData, row_group: int, columns: Collection[str], max_len: int
) -> None:
    """Raise TooLarge where a row group states more values of a column than its rows may have."""
    group = footer.row_group(row_group)
    most = min(MAX_GROUP_VALUES, group.num_rows * max_len)
    for number in range(group.num_columns):
        column = group.column(number)
        name = column.path_in_schema.partition(".")[0]
        if name in columns and not 0 <= column.num_values <= most:
            raise TooLarge(
                f"states {column.num_values:,} values of {name} in {group.num_rows:,} rows, "
                f"expected at most {most:,}"
            )
