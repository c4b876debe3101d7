"""The base model of an adapter: its path, and a digest of all bytes of its weights.

The digest is computed from the digests of pieces, so processes can share the work. Costs one pass
over the files, at about 1 GB/s per core.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from jllm.models.weights.read import open_weights

BASE = "jllm_base.json"
"""File beside `adapter_config.json`; `peft` and vLLM ignore it."""
PIECE_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Base:
    """The model that an adapter was trained on."""

    path: str
    digest: str


def write_base(base: Base) -> bytes:
    """Return the contents of the file."""
    return json.dumps(asdict(base), indent=2, ensure_ascii=False).encode() + b"\n"


def read_base(adapter: Path) -> Base | None:
    """Read the base from an adapter's directory; None without the file, as in those of `peft`."""
    path = adapter / BASE
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_bytes())
        return Base(path=str(values["path"]), digest=str(values["digest"]))
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path}: no JSON object with path and digest; remove it") from None


def piece_digests(
    directory: Path, rank: int = 0, size: int = 1, done: Callable[[int], None] | None = None
) -> list[str]:
    """Return the digests of every `size`-th piece of a model's weights, from number `rank` on.

    done: called with the bytes of each piece once it has been read.
    """
    files = sorted({path for path, _ in open_weights(directory).tensors.values()})
    places = [
        (path, start) for path in files for start in range(0, path.stat().st_size, PIECE_BYTES)
    ]
    found = []
    for path, start in places[rank::size]:
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            data = file.read(PIECE_BYTES)
        found.append(hashlib.blake2b(data, digest_size=16).hexdigest())
        if done:
            done(len(data))
    return found


def digest_of_pieces(shares: Iterable[list[str]]) -> str:
    """Return the digest of a model from the digests of all processes, in order."""
    shares = list(shares)
    longest = max(map(len, shares))
    ordered = [share[row] for row in range(longest) for share in shares if row < len(share)]
    return hashlib.blake2b("".join(ordered).encode(), digest_size=16).hexdigest()
