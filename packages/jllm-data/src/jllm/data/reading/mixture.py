"""Several data sets with weights, read as one: `a:0.7,b:0.3`.

In any number of steps every data set has its share of the rows (`mixture_shares`), in an order of
its own (`mixture_order`); a small one is repeated as its weight demands. Weights count rows, and
all rows of a mixture have the same length. `docs/data_order.md` is the definition.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from pathlib import Path

from jllm.data.format.differences import differences
from jllm.data.reading.dataset import Dataset, open_dataset
from jllm.data.reading.mixture_shares import Shares, whole_weights
from jllm.data.storage.paths import Location, location


@dataclass(frozen=True, kw_only=True)
class DataMixture:
    """One or more open data sets of the same kind, length and tokenizer."""

    parts: tuple[Dataset, ...]
    weights: tuple[int, ...]
    """The rows of each data set in every Σ weights rows; (1,) for a single data set."""

    @property
    def max_len(self) -> int:
        """The most ids a row holds."""
        return self.parts[0].max_len

    @property
    def document_end_id(self) -> int | None:
        """The id that closes a document and pads rows."""
        return self.parts[0].document_end_id

    @property
    def tokenizer_digest(self) -> str:
        """The digest of the first data set that states one; empty where none does."""
        return next((part.tokenizer_digest for part in self.parts if part.tokenizer_digest), "")

    @property
    def num_rows(self) -> int:
        """The rows of all data sets together: as many as an epoch of a mixture trains."""
        return sum(part.num_rows for part in self.parts)

    @property
    def digest(self) -> str:
        """A data set's own digest, or for a mixture one of all weights and digests."""
        if len(self.parts) == 1:
            return self.parts[0].digest
        lines = (f"{w} {p.digest}\n" for w, p in zip(self.weights, self.parts, strict=True))
        return hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()

    def shares(self, global_batch_size: int) -> Shares:
        """Return how many rows each step takes from each data set.

        Raises ValueError that names a data set with fewer rows than one step takes from it.
        """
        shares = Shares(weights=self.weights, global_batch_size=global_batch_size)
        if len(self.parts) > 1:
            for part, lanes in zip(self.parts, shares.lanes, strict=True):
                if part.num_rows < lanes:
                    raise ValueError(
                        f"{part.path}: has {part.num_rows} rows, by its weight a step takes up to "
                        f"{lanes} of it: give it less weight or more data, or take a smaller "
                        "global batch"
                    )
        return shares

    def epochs(self, global_batch_size: int, steps: int) -> tuple[float, ...]:
        """Return how many epochs of each data set the first `steps` steps read."""
        rows = self.shares(global_batch_size).rows_before(steps)
        return tuple(n / part.num_rows for n, part in zip(rows, self.parts, strict=True))


def open_mixture(text: str) -> DataMixture:
    """Open one folder, or several as `folder:weight` with commas between.

    Raises ValueError, naming the data sets, for what `open_dataset` refuses, for missing or wrong
    weights, and for data sets that do not fit together.
    """
    named = parse_mixture(text)
    weights = whole_weights(tuple(weight for _, weight in named))
    parts = tuple(open_dataset(path, lazy=True) for path, _ in named)
    for first, other in combinations(parts, 2):
        check_mixable(first, other)
    return DataMixture(parts=parts, weights=weights)


def parse_mixture(text: str) -> list[tuple[str, Fraction]]:
    """Return (path, weight) of each data set in `text`.

    The weight follows an item's last colon and must be a number (`7`, `0.7`, `1/3`), so paths may
    contain colons. A path with commas is possible only where `text` as a whole is one existing
    folder or file.
    """
    if Path(text).exists():
        return [(text, Fraction(1))]
    found: dict[str, Fraction] = {}
    items = [item.strip() for item in text.split(",")]
    for item in items:
        path, weight = _split(item)
        if weight is None and len(items) > 1:
            raise ValueError(
                f"{item!r} of {text!r} ends in no weight: write folder:weight for each data set, "
                "the weight a number, as in a:0.7,b:0.3 or a:2/3,b:1/3"
            )
        if not path:
            raise ValueError(f"{item!r} of {text!r} names no folder: write folder:weight")
        if _place(path) in map(_place, found):
            raise ValueError(f"{path} is there twice in {text!r}: add its weights up")
        if weight is not None and weight <= 0:
            raise ValueError(f"{item!r}: the weight is not above 0; leave {path} out")
        found[path] = Fraction(1) if weight is None else weight
    return list(found.items())


def _place(path: str) -> Location:
    """Return the same location for every spelling of one place."""
    found = location(path)
    return found.resolve() if isinstance(found, Path) else found


def _split(item: str) -> tuple[str, Fraction | None]:
    path, colon, tail = item.rpartition(":")
    try:
        return (path, Fraction(tail)) if colon else (item, None)
    except (ValueError, ZeroDivisionError):
        return item, None


def check_mixable(first: Dataset, other: Dataset) -> None:
    """Raise ValueError, naming both data sets, where two cannot be trained as one."""
    here, there = first.made_with, other.made_with
    unstated = [  # in files written by other tools
        key for key in here if key.endswith("digest") and not (here[key] and there[key])
    ]
    if found := differences(here, there, but=unstated):
        raise ValueError(
            f"{first.path} and {other.path} differ in {found[0]}; data that are mixed are "
            "converted with the same tokenizer, template and --max_len"
        )
