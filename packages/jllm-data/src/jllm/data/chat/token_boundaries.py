"""Checks whether an earlier answer has the same ids in the served history as in training.

For training, an answer is tokenised apart from its prompt, as a model writes it; the server
tokenises the history as a whole. The two differ where a token spans the boundary between prompt and
answer: for instance, an empty line before an answer that itself begins with an empty line becomes
one token. A check takes about 50 µs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from jllm.data.chat.rendered import Example
from jllm.data.tokenizer.load import TextTokenizer
from jllm.data.tokenizer.pretokenizer_parity import NEIGHBOURS

BEGINNINGS = [f"{c}{rest}" for c in NEIGHBOURS if not c.isspace() for rest in ("", "a")] + ["'re"]
"""Texts that begin with a code point of every class but white space, as an answer may."""
REMEMBERED = 256


@dataclass(frozen=True, kw_only=True)
class BoundaryMerges:
    """Tests by tokenising whether tokens span the boundaries before answers."""

    tokenizer: TextTokenizer
    special: re.Pattern[str]
    """A pattern of the special tokens, where text is always cut."""
    _clean: dict[str, bool] = field(default_factory=dict)

    def crossed(self, text: str, start: int) -> bool:
        """Return whether a token of the text spans `start`, where an answer begins."""
        before = max((found.end() for found in self.special.finditer(text, 0, start)), default=0)
        after = self.special.search(text, start)
        left, right = text[before:start], text[start : after.start() if after else len(text)]
        if not left or not right or (not right[0].isspace() and self._clean_after(left)):
            return False
        return self._joined(left, right)

    def clean(self, example: Example) -> bool:
        """Return whether no token can span one, for answers that do not begin with white space."""
        return all(
            before.trained
            or not after.trained
            or before.special_id is not None
            or self._clean_after(before.text)
            for before, after in pairwise(example.pieces)
        )

    def _clean_after(self, left: str) -> bool:
        known = self._clean.get(left)
        if known is None:
            if len(self._clean) >= REMEMBERED:
                self._clean.clear()
            known = not any(self._joined(left, right) for right in BEGINNINGS)
            self._clean[left] = known
        return known

    def _joined(self, left: str, right: str) -> bool:
        one, two, both = self.tokenizer.core.encode_batch_fast(
            [left, right, left + right], add_special_tokens=False
        )
        return one.ids + two.ids != both.ids


def history_begins_with_space(roles: Sequence[str], contents: Sequence[str]) -> bool:
    """Return whether an answer before the last, as placed, is empty or begins with white space."""
    answers = [text for role, text in zip(roles, contents, strict=True) if role == "assistant"]
    return any(not answer[:1].strip() for answer in answers[:-1])
