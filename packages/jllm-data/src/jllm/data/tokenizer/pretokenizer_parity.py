"""Checks whether two tokenizers cut words at the same places around a given code point.

Pre-tokenizers look at the classes of code points (letter, number, mark, space, …), and two
libraries may use classes of different Unicode versions. The real vocabulary hides most of these
differences: words cut at different places often have the same tokens, but not always. So code
points are tried with a vocabulary made for the purpose, in which every neighbour that is not cut
off merges with the code point's bytes: a different cut always gives different tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tokenizers import Tokenizer

Encode = Callable[[str], Sequence[int]]
"""Text → ids."""

NEIGHBOURS = (
    "a",
    "Z",
    "7",
    " ",
    "\n",
    "\r",
    "\t",
    ".",
    "'",
    "-",
    "$",
    "中",
    "ア",
    "\u0301",
    "€",
    "ä",
)
"""A code point of every class that the rules of current pre-tokenizers distinguish."""
PLACES = (
    "{c}",
    "{c}{c}{c}{c}",
    *(f"{n}{{c}}" for n in NEIGHBOURS),
    *(f"{{c}}{n}" for n in NEIGHBOURS),
    *(f"{n}{n}{{c}}a" for n in NEIGHBOURS),
    *("'{c}a", "'l{c}", "'r{c}", "'v{c}", "'{c}l", "{c}'re", "{c}'s", "{c}'LL", "'s{c}"),
    *("7{c}7", "77{c}77", "{c}7777", "{c}{c}{c}77", " {c} ", "a {c}a", "\n{c}\n", "e\u0301{c}"),
    *("{c}\n\n", "{c} \n", "{c}\r\n", "-{c}a", "{c}-a", "  {c}  a"),
)
"""The contexts that the rules look at: beside each class, and in their special forms."""
TEXTS = ("{c}", "\nQ\n".join(PLACES))


def byte_alphabet() -> list[str]:
    """Return the characters for bytes 0 … 255 in byte-level vocabularies (GPT-2's table)."""
    shown = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = iter(range(256, 512))
    return [chr(byte if byte in shown else next(hidden)) for byte in range(256)]


def trial_rules(rules: dict[str, Any]) -> dict[str, Any]:
    """Return the rules of a byte-level tokenizer (tokenizer.json) with the trial vocabulary."""
    letters = byte_alphabet()
    last = sorted({neighbour.encode()[-1] for neighbour in NEIGHBOURS})
    first = sorted({neighbour.encode()[0] for neighbour in NEIGHBOURS})
    pairs = [(letters[n], letters[byte]) for n in last for byte in range(256)]
    pairs += [(letters[byte], letters[n]) for n in first for byte in range(256)]
    pairs = list(dict.fromkeys(pairs))
    tokens = list(dict.fromkeys([*letters, *(left + right for left, right in pairs)]))
    model = {**rules["model"], "vocab": {token: number for number, token in enumerate(tokens)}}
    model |= {"merges": [list(pair) for pair in pairs], "ignore_merges": False}
    return {**rules, "model": model, "added_tokens": [], "post_processor": None}


class Trial:
    """A comparison of two tokenizers on code points."""

    def __init__(self, truth: dict[str, Any], other: Encode) -> None:
        """`truth`: rules for `tokenizers`; `other`: encodes by these rules in another library."""

        self._truth = Tokenizer.from_str(json.dumps(truth))
        self._other = other

    def agree(self, points: Sequence[int]) -> list[bool]:
        """Return, for each code point, whether all words around it are cut alike."""
        texts = [text.replace("{c}", chr(point)) for point in points for text in TEXTS]
        truth = self._truth.encode_batch_fast(texts, add_special_tokens=False)
        same = [
            list(self._other(text)) == expected.ids
            for text, expected in zip(texts, truth, strict=True)
        ]
        return [all(same[at : at + len(TEXTS)]) for at in range(0, len(same), len(TEXTS))]
