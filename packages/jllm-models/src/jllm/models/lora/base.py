"""Which model an adapter is of: the path, and a digest of all bytes of its weights.

The digest is that of the digests of pieces, so processes can share the work. Costs one pass over
the files, at about 1 GB/s a core.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from jllm.models.weights.read import open_weights

BASE = "jllm_base.json"
"""File beside `adapter_config.json`; `peft` and vLLM do not look at it."""
PIECE_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Base:
    """The model that an adapter was trained on."""

    path: str
    digest: str


def write_base(base: Base) -> bytes:
    """Return the file's contents."""
    return json.dumps(asdict(base), indent=2, ensure_ascii=False).encode() + b"\n"


def read_base(adapter: Path) -> Base | None:
    """Read what an adapter's directory says; None where it says nothing, as with `peft`'s own."""
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

    done: told the bytes of each piece that was read.
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
    """Return the digest of a model from what each of the processes, in order, has found."""
    shares = list(shares)
    longest = max(map(len, shares))
    ordered = [share[row] for row in range(longest) for share in shares if row < len(share)]
    return hashlib.blake2b("".join(ordered).encode(), digest_size=16).hexdigest()
