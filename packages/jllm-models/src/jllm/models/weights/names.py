"""The names of the tensors in a model directory, from its index or header, without PyTorch."""

import json
from collections.abc import Iterable
from pathlib import Path


def tensor_names(directory: Path, stem: str = "model") -> frozenset[str] | None:
    """Return the names; None where the files are missing or damaged, which a reader refuses."""
    index, single = (directory / f"{stem}.safetensors{end}" for end in (".index.json", ""))
    try:
        if index.exists():
            return frozenset(json.loads(index.read_bytes())["weight_map"])
        with single.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            return frozenset(json.loads(file.read(min(length, 100_000_000)))) - {"__metadata__"}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def layers_behind(names: Iterable[str], layers: str, last: int) -> int:
    """Return how many consecutive layers the names have from number `last` on.

    layers: the prefix of the number of a layer.
    """
    found = {
        name.removeprefix(f"{layers}.").partition(".")[0]
        for name in names
        if name.startswith(f"{layers}.")
    }
    count = 0
    while str(last + count) in found:
        count += 1
    return count
