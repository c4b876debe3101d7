"""Texts → ids: `tokenizers` is the reference; gigatoken encodes what it provably encodes alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jllm.data.tokenizer.gigatoken import GigatokenEncoder
from jllm.data.tokenizer.load import TextTokenizer

SAMPLE = 256
"""Of gigatoken's texts, the first of a work unit and every 256th after it are compared."""
SAMPLE_LENGTH = 4096
"""The number of characters compared of a longer text, from its middle."""


class EncodersDiffer(ValueError):
    """gigatoken and `tokenizers` gave different ids for a text on which they should agree."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """An encoder of texts; special tokens in them are ordinary text."""

    tokenizer: TextTokenizer
    fast: GigatokenEncoder | None
    """None: every text goes through `tokenizers`."""

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the ids (int32 [n]) of each text, without tokens added around it.

        Texts must not hold lone surrogates. Raises EncodersDiffer.
        """
        if self.fast is None:
            return self._encode_slowly(texts)
        suited = self.fast.suited(texts)
        ids = [self.fast.encode(text) if ok else None
               for text, ok in zip(texts, suited.tolist(), strict=True)]  # fmt: skip
        for number in np.flatnonzero(suited)[::SAMPLE].tolist():
            self._compare(self.fast, texts[number])
        rest = np.flatnonzero(~suited).tolist()
        slow = self._encode_slowly([texts[number] for number in rest])
        by_number = dict(zip(rest, slow, strict=True))
        return [by_number[number] if i is None else i for number, i in enumerate(ids)]

    def remember(self) -> None:
        """Keep gigatoken's verdicts for the next conversion."""
        if self.fast is not None:
            self.fast.remember()

    def _encode_slowly(self, texts: Sequence[str]) -> list[np.ndarray]:
        encoded = self.tokenizer.core.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(one.ids, np.int32) for one in encoded]

    def _compare(self, fast: GigatokenEncoder, text: str) -> None:
        """Encode a text, or part of a long one, with both. Raises EncodersDiffer."""
        start = max(0, len(text) - SAMPLE_LENGTH) // 2
        text = text[start : start + SAMPLE_LENGTH]
        ids = fast.encode(text)
        truth = self.tokenizer.core.encode_batch_fast([text], add_special_tokens=False)[0].ids
        if ids.tolist() != truth:
            same = next((n for n, (a, b) in enumerate(zip(ids, truth, strict=False)) if a != b), 0)
            at = len(self.tokenizer.core.decode(truth[:same]))
            excerpt = text[max(0, at - 40) : at + 40]
            raise EncodersDiffer(
                f"gigatoken and tokenizers differ near {excerpt!r}: give --fast off, and please "
                "report it"
            )


def make_encoder(
    tokenizer: TextTokenizer, *, allow_fast: bool = True, cached: bool = False
) -> tuple[Encoder, str]:
    """Return the fastest encoder that is certainly right, and why it goes without gigatoken, if so.

    `cached`: earlier verdicts on gigatoken are taken from the user's cache.
    """
    if not allow_fast:
        return Encoder(tokenizer=tokenizer, fast=None), "switched off"
    try:
        return Encoder(tokenizer=tokenizer, fast=GigatokenEncoder(tokenizer, cached=cached)), ""
    except ValueError as why:
        return Encoder(tokenizer=tokenizer, fast=None), str(why)
