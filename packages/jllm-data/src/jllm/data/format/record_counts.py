"""The counts of input records: read = written + Σ dropped, so nothing disappears silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_EXAMPLES = 100
"""The most dropped records that are listed with their line; the rest are only counted."""
MAX_KEYS = 100
"""The most unused keys that are listed by name; the rest are counted together."""
OTHER_KEYS = "other keys"
"""The name for the rest of the unused keys."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The reason why a record cannot be used.

    `reason` is its name in the record counts, `detail` a message for the user. `fatal`: it stops a
    conversion with `--on_error stop`; otherwise it is only counted.
    """

    line: int
    reason: str
    detail: str
    fatal: bool = True


@dataclass(kw_only=True)
class RecordCounts:
    """The counts of one input file's records: written, and dropped by reason."""

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    truncated: Counter[str] = field(default_factory=Counter)
    dropped_examples: list[tuple[str, Problem]] = field(default_factory=list)
    """The first dropped records: the file's name relative to --input, and the problem."""
    unused_keys: Counter[str] = field(default_factory=Counter)
    """Unused keys → the number of records that have them."""
    tokens: int = 0
    """The ids of written documents; overlaps and padding are not counted."""
    trained_tokens: int = 0

    @property
    def written(self) -> int:
        """The records of which something was written."""
        return self.read - sum(self.dropped.values())

    def add_unused(self, keys: Counter[str]) -> None:
        """Count unused keys: the first MAX_KEYS by name, the rest together."""
        for key, count in keys.items():
            listed = key in self.unused_keys or len(self.unused_keys) < MAX_KEYS
            self.unused_keys[key if listed else OTHER_KEYS] += count

    def add(self, other: RecordCounts) -> None:
        """Add the counts of other records, which come after these."""
        self.read += other.read
        self.dropped += other.dropped
        self.truncated += other.truncated
        self.add_unused(other.unused_keys)
        self.tokens += other.tokens
        self.trained_tokens += other.trained_tokens
        room = MAX_EXAMPLES - len(self.dropped_examples)
        self.dropped_examples += other.dropped_examples[:room]

    def stated(self) -> dict[str, Any]:
        """Return the content of "records" in an info file, which `stated_counts` reads."""
        return {
            "read": self.read,
            "written": self.written,
            "dropped": dict(sorted(self.dropped.items())),
            "truncated": dict(sorted(self.truncated.items())),
            "unused_keys": dict(sorted(self.unused_keys.items())),
            "dropped_list": [
                {"file": name, "line": one.line, "reason": one.reason, "detail": one.detail}
                for name, one in self.dropped_examples
            ],
        }

    def tree(self) -> dict[str, Any]:
        """Return the counts as plain values, for `record_counts_of`."""
        return vars(self) | {
            "dropped": dict(self.dropped),
            "truncated": dict(self.truncated),
            "unused_keys": dict(self.unused_keys),
            "dropped_examples": [(name, vars(problem)) for name, problem in self.dropped_examples],
        }


def record_counts_of(tree: dict[str, Any]) -> RecordCounts:
    """Return the counts whose `tree` this is."""
    values = dict(tree)
    values |= {name: Counter(tree[name]) for name in ("dropped", "truncated", "unused_keys")}
    examples = tree["dropped_examples"]
    values["dropped_examples"] = [(name, Problem(**problem)) for name, problem in examples]
    return RecordCounts(**values)


def stated_counts(info: Mapping[str, Any], where: str) -> RecordCounts:
    """Return the counts in the content of an info file that has "records".

    Raises ValueError, naming the file as `where`, for a key that is missing or damaged.
    """
    try:
        records = info["records"]
        return RecordCounts(
            read=int(records["read"]),
            dropped=_counter(records["dropped"]),
            truncated=_counter(records["truncated"]),
            unused_keys=_counter(records.get("unused_keys", {})),
            dropped_examples=[
                (
                    str(one["file"]),
                    Problem(
                        line=int(one["line"]), reason=str(one["reason"]), detail=str(one["detail"])
                    ),
                )
                for one in records["dropped_list"]
            ],
            tokens=int(info["tokens"]),
            trained_tokens=int(info["trained_tokens"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{where}: the account is damaged ({error!r}): convert again") from error


def _counter(stated: Mapping[Any, Any]) -> Counter[str]:
    return Counter({str(name): int(count) for name, count in stated.items()})
