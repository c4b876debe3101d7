"""Decode ids for display and search: exact bytes if the tokenizer allows it.

The ids of a byte-level tokenizer stand for bytes, so decoding is a table look-up in numpy (about
60 ns an id), and any run of ids has its own bytes, even if it ends inside a character. Other
tokenizers (such as SentencePiece) decode a document at a time, more slowly.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jllm.data.tokenizer.load import TextTokenizer
from jllm.data.tokenizer.pretokenizer_parity import byte_alphabet

UNKNOWN = "⟨no token⟩"
"""Shown for an id that the tokenizer does not have."""


@dataclass(frozen=True, kw_only=True)
class ByteTable:
    """The concatenated bytes of all ids; last come those shown for unknown ids."""

    data: np.ndarray
    """uint8 [Σ lengths]"""
    starts: np.ndarray
    """int64 [vocabulary + 2]"""

    def join(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (bytes uint8 [total], where each id's begin int64 [ids + 1])."""
        ids = np.minimum(ids, len(self.starts) - 2)
        lengths = self.starts[ids + 1] - self.starts[ids]
        ends = np.cumsum(lengths)
        places = np.arange(ends[-1] if len(ends) else 0)
        places += np.repeat(self.starts[ids] - (ends - lengths), lengths)
        return self.data[places], np.concatenate(([0], ends))


class TokenText:
    """Decoder for one tokenizer; special tokens are shown as they are written."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.tokenizer = tokenizer
        rules = json.loads(tokenizer.core.to_str())
        byte_level = (rules["decoder"] or {}).get("type") == "ByteLevel"
        self.table = _byte_table(tokenizer) if byte_level else None
        """None if ids do not stand for bytes one by one."""
        self.specials = frozenset(tokenizer.specials.values())

    def text(self, ids: np.ndarray) -> str:
        """Return the text of ids, with � for incomplete characters."""
        if self.table is not None:
            return self.table.join(ids)[0].tobytes().decode(errors="replace")
        return self.tokenizer.core.decode(ids.tolist(), skip_special_tokens=False)

    def pieces(self, ids: np.ndarray, cuts: Sequence[int]) -> list[str]:
        """Return the texts between neighbours of `cuts` (ascending, from 0 to len(ids)).

        Together they are `text(ids)`, except for characters whose bytes a cut divides.
        """
        if self.table is not None:
            data, starts = self.table.join(ids)
            edges = starts[list(cuts)].tolist()
            return [
                data[a:b].tobytes().decode(errors="replace")
                for a, b in zip(edges, edges[1:], strict=False)
            ]
        texts = [self.text(ids[:cut]) if cut else "" for cut in cuts]
        return [
            after.removeprefix(before.rstrip("�"))
            for before, after in zip(texts, texts[1:], strict=False)
        ]


def _byte_table(tokenizer: TextTokenizer) -> ByteTable:
    core = tokenizer.core
    values = {letter: byte for byte, letter in enumerate(byte_alphabet())}
    added = {number: token.content for number, token in core.get_added_tokens_decoder().items()}
    vocabulary = core.get_vocab(with_added_tokens=True)
    texts = [b""] * (max(vocabulary.values()) + 1)
    for token, number in vocabulary.items():
        plain = number in added or any(letter not in values for letter in token)
        texts[number] = token.encode() if plain else bytes(map(values.__getitem__, token))
    texts.append(UNKNOWN.encode())
    lengths = np.array([len(text) for text in texts], np.int64)
    return ByteTable(
        data=np.frombuffer(b"".join(texts), np.uint8),
        starts=np.concatenate(([0], np.cumsum(lengths))),
    )
