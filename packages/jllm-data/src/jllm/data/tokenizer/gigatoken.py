"""gigatoken: the ids of `tokenizers`, 30 times faster, for texts where they are certainly equal.

Both libraries cut a text into words by the classes of its code points (letter, number, space, …)
and then merge bytes by one table. They can differ where their Unicode tables do. So each code point
that occurs is compared once with `tokenizers` (`pretokenizer_parity.py`, and with the real
vocabulary); the verdicts are in a table that forked processes share. A text is left to `tokenizers`
when it holds

* a code point on which the two differ,
* an added word of the vocabulary (`<think>`, …), or
* where the tokenizer normalises (NFC), anything that is not already normalised.

Samples of the remaining texts are compared in every conversion (`encoder.py`). gigatoken is
imported only here. The verdict on a code point takes about 0.3 ms, once; a text costs 2 ns a
character on top of gigatoken itself.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import platform
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from jllm.data.runtime.user_cache import cache_key, recall, remember
from jllm.data.runtime.versions import code_digest, version_of
from jllm.data.tokenizer.load import TextTokenizer
from jllm.data.tokenizer.pretokenizer_parity import Trial, byte_alphabet, trial_rules

UNKNOWN, SAFE, UNSAFE = 0, 1, 2
TRIED_AT_ONCE = 128
CACHE, ENTRY = "gigatoken", ("rules", "trial", "nfc", "safe", "unsafe")
"""The kind of cache entry that keeps verdicts, and the keys of an entry."""


class GigatokenEncoder:
    """An encoder that uses gigatoken, and knows which texts it may encode."""

    def __init__(self, tokenizer: TextTokenizer, *, cached: bool = False) -> None:
        """Raise ValueError with the reason where gigatoken is absent or cannot load this tokenizer.

        `cached`: earlier verdicts are taken from the user's cache, and `remember` keeps them.
        """
        self._tokenizer = tokenizer
        self._key = _cache_key(tokenizer) if cached else ""
        entry = recall(CACHE, self._key, ENTRY) if cached else None
        if entry is None:
            rules = json.loads(tokenizer.facts.rules)
            self._nfc = _normalises(rules)
            self._rules = json.dumps(_in_words_of_gigatoken(rules))
            self._trial = trial_rules(rules)
        else:
            self._nfc, self._trial, self._rules = entry["nfc"], entry["trial"], entry["rules"]
        self._backend = _load(self._rules)
        self._words = AddedWords(tokenizer.added_words)
        self._verdicts = np.frombuffer(mmap.mmap(-1, 0x110000), np.uint8)
        if entry is not None:
            self._verdicts[entry["safe"]] = SAFE
            self._verdicts[entry["unsafe"]] = UNSAFE
        self._remembered = self._known()
        self._learn(np.arange(128))
        self._unsafe_ascii = [chr(c) for c in np.flatnonzero(self._verdicts[:128] == UNSAFE)]
        ordinary = [c for c in self._unsafe_ascii if c.isprintable() or c in "\t\n\r"]
        if ordinary:
            raise ValueError(f"gigatoken differs on ordinary text ({ordinary[0]!r})")

    def remember(self) -> None:
        """Keep the verdicts, including those of forked processes, for the next conversion."""
        if self._key and self._known() > self._remembered:
            entry = {
                "rules": self._rules,
                "trial": self._trial,
                "nfc": self._nfc,
                "safe": np.flatnonzero(self._verdicts == SAFE).tolist(),
                "unsafe": np.flatnonzero(self._verdicts == UNSAFE).tolist(),
            }
            remember(CACHE, self._key, entry)
            self._remembered = self._known()

    def encode(self, text: str) -> np.ndarray:
        """Return the ids (int32) of a text that `suited` accepted.

        Special tokens are not looked for.
        """
        return self._backend.encode(text).view(np.int32)

    def suited(self, texts: Sequence[str]) -> np.ndarray:
        """Return for which texts (bool [N]) gigatoken gives the ids of `tokenizers`."""
        foreign = [text for text in texts if not text.isascii()]
        self._learn(_code_points("".join(foreign)))
        suited = np.ones(len(texts), bool)
        for number, text in enumerate(texts):
            if self._words.found_in(text):
                suited[number] = False
            elif text.isascii():
                suited[number] = not any(c in text for c in self._unsafe_ascii)
            else:
                suited[number] = (not self._nfc or unicodedata.is_normalized("NFC", text)) and not (
                    self._verdicts[_code_points(text)] == UNSAFE
                ).any()
        return suited

    def _learn(self, code_points: np.ndarray) -> None:
        """Find the verdict on each code point of the array that has none yet."""
        unknown = np.unique(code_points[self._verdicts[code_points] == UNKNOWN])
        for at in range(0, len(unknown), TRIED_AT_ONCE):
            points = unknown[at : at + TRIED_AT_ONCE].tolist()
            alike = self._cuts.agree(points)
            characters = [chr(point) for point in points]
            truth = self._tokenizer.core.encode_batch_fast(characters, add_special_tokens=False)
            for character, cut_alike, expected in zip(characters, alike, truth, strict=True):
                safe = cut_alike and self._backend.encode(character).tolist() == expected.ids
                if self._nfc and unicodedata.category(character) == "Cn":
                    safe = False  # Python cannot tell whether a text with it is normalised.
                self._verdicts[ord(character)] = SAFE if safe else UNSAFE

    def _known(self) -> int:
        return int(np.count_nonzero(self._verdicts))

    @cached_property
    def _cuts(self) -> Trial:
        """The trial of code points, made when first needed."""
        other = _load(json.dumps(_in_words_of_gigatoken(self._trial)))
        return Trial(self._trial, lambda text: other.encode(text).tolist())


class AddedWords:
    """A search for any of many words in a text, at every place where one could begin."""

    def __init__(self, words: Sequence[str]) -> None:
        by_beginning: dict[str, set[str]] = defaultdict(set)
        for word in words:
            by_beginning[word[:2]].add(word)
        self._firsts = sorted({word[0] for word in words})
        self._table = {
            beginning: (sorted({len(word) for word in group}), frozenset(group))
            for beginning, group in by_beginning.items()
        }

    def found_in(self, text: str) -> bool:
        """Return whether the text holds one of the words."""
        for first in self._firsts:
            at = text.find(first)
            while at >= 0:
                if first in self._table:
                    return True
                lengths, group = self._table.get(text[at : at + 2], ((), ()))
                if any(text[at : at + length] in group for length in lengths):
                    return True
                at = text.find(first, at + 1)
        return False


def _load(rules: str) -> Any:
    """Return gigatoken's tokenizer. Raises ValueError with the reason."""
    try:
        from gigatoken.gigatoken_rs import load_hf_json
    except ImportError as error:
        raise ValueError("gigatoken is not installed (pip install 'jllm-data[fast]')") from error
    try:
        return load_hf_json(rules)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"gigatoken cannot load it ({str(error).splitlines()[0]})") from error


def _cache_key(tokenizer: TextTokenizer) -> str:
    """Return the digest of everything that a verdict depends on."""
    versions = [version_of(one) for one in ("gigatoken", "tokenizers")]
    rules = hashlib.blake2b(tokenizer.facts.rules.encode()).hexdigest()
    return cache_key(
        code_digest(), versions, platform.machine(), unicodedata.unidata_version, rules
    )


def _normalises(rules: dict[str, Any]) -> bool:
    """Return whether the tokenizer normalises to NFC. Raises ValueError for unknown rules."""
    model = rules["model"]
    if model["type"] != "BPE" or model.get("byte_fallback") or model.get("dropout"):
        raise ValueError("it is not a plain byte-level BPE tokenizer")
    if '"ByteLevel"' not in json.dumps(rules["pre_tokenizer"]):
        raise ValueError("its pre-tokeniser is not byte-level")
    normalizer = rules["normalizer"] or {"type": "Sequence", "normalizers": []}
    steps = normalizer.get("normalizers", [normalizer])
    if [step["type"] for step in steps] not in ([], ["NFC"]):
        raise ValueError(f"its normaliser is {normalizer['type']}")
    return bool(steps)


def _in_words_of_gigatoken(rules: dict[str, Any]) -> dict[str, Any]:
    """Return the rules of a tokenizer in gigatoken's terms.

    It expects a vocabulary entry for every byte: a missing one gets an id beyond the vocabulary
    (`tokenizers` drops such a byte, so its code points turn out unsafe). Special tokens are
    removed, because they are not parsed from text.
    """
    vocabulary: dict[str, int] = dict(rules["model"]["vocab"])
    rules = {**rules, "model": {**rules["model"], "vocab": vocabulary}}
    beyond = max([*vocabulary.values(), *(token["id"] for token in rules["added_tokens"])]) + 1
    for character in byte_alphabet():
        if character not in vocabulary:
            vocabulary[character] = beyond
            beyond += 1
    rules["added_tokens"] = [token for token in rules["added_tokens"] if not token["special"]]
    _isolate_digits(rules)
    return rules


def _isolate_digits(rules: dict[str, Any]) -> None:
    """Express `[Digits, ByteLevel]` (SmolLM2) in rules that gigatoken knows.

    Added tokens have the same effect: they cut out every digit before the rest is pre-tokenised.
    Digits other than 0-9 are not cut out, so they turn out unsafe.
    """
    steps = (rules["pre_tokenizer"] or {}).get("pretokenizers", [])
    if [step["type"] for step in steps] != ["Digits", "ByteLevel"]:
        return
    digits = {digit: rules["model"]["vocab"].get(digit) for digit in "0123456789"}
    if not steps[0]["individual_digits"] or None in digits.values():
        return
    rules["pre_tokenizer"] = steps[1]
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    rules["added_tokens"] += [{"id": n, "content": digit, **plain} for digit, n in digits.items()]


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)
