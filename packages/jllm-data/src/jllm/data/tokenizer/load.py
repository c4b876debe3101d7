"""A tokenizer directory → what conversion needs: ids of text, special tokens, digests.

`tokenizers` (through Transformers' AutoTokenizer, never with remote code) is the reference. Special
tokens are never parsed out of text: `encode_special_tokens` is set on a private copy, so
"<|im_end|>" typed by a user becomes the ordinary tokens of these ten characters. Tokens like <|…|>
are special, whatever their flag (DeepSeek's <｜User｜> is not flagged). Other added tokens that are
not special (`<think>` in many models) are ordinary words. Loading takes a second or two, most of it
the import of Transformers; conversions cache the result (`cache.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer

CONTROL_TOKEN = re.compile(r"<[|｜].*[|｜]>", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class TokenizerFacts:
    """What is read through Transformers, as plain values."""

    rules: str
    """A tokenizer.json, without truncation and padding, with control tokens marked special."""
    prefix_ids: tuple[int, ...]
    """The ids that the tokenizer itself puts before a text (<s> in many), kept for pre-training."""
    begin_id: int | None
    """The beginning-of-sequence id."""
    end_id: int | None
    """The end-of-sequence id."""
    digest: str
    """The digest of vocabulary, merges, rules and added tokens; the same wherever it is loaded."""


class TextTokenizer:
    """A loaded tokenizer. `hf` renders chat templates; `core` makes ids."""

    def __init__(self, name: str, facts: TokenizerFacts, load: Callable[[], Any]) -> None:
        """`name` is used in messages; `load` returns the `transformers` tokenizer."""
        self.name = name
        self.facts = facts
        self.prefix_ids = facts.prefix_ids
        self.document_end_id = facts.end_id
        self.digest = facts.digest
        self.core = Tokenizer.from_str(facts.rules)
        """The `tokenizers` tokenizer; it takes special tokens as text."""
        self.core.encode_special_tokens = True
        added = self.core.get_added_tokens_decoder().items()
        self.specials = {token.content: number for number, token in added if token.special}
        """The text and id of every special token."""
        self.special_tokens = {token.content: token for _, token in added if token.special}
        """The same tokens with their rules for white space around them."""
        self.added_words = tuple(token.content for _, token in added if not token.special)
        """Added tokens that are not special; they are found in text as whole words."""
        self.specials_digest = _json_digest([self.specials, facts.begin_id, facts.end_id])
        """The digest of the special tokens with their ids, and of the begin and end ids."""
        self._load = load

    @cached_property
    def hf(self) -> Any:
        """The `transformers` tokenizer, loaded on first use (takes a second)."""
        return self._load()


def load_tokenizer(name: str) -> TextTokenizer:
    """Load a tokenizer directory (or Hugging Face name).

    Raises ValueError where it cannot be read or is not a `tokenizers` tokenizer.
    """
    return wrap_tokenizer(load_by_transformers(name), name)


def load_by_transformers(name: str) -> Any:
    """Return the `transformers` tokenizer of a directory. Raises ValueError."""
    from transformers import AutoTokenizer

    if name.startswith((".", "/", "~")) and not os.path.isdir(os.path.expanduser(name)):
        raise ValueError(f"--tokenizer {name}: no such folder")
    try:
        return AutoTokenizer.from_pretrained(os.path.expanduser(name), trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"--tokenizer {name}: {first}; expected a folder with tokenizer.json and "
            "tokenizer_config.json (a Hugging Face model folder)"
        ) from error


def wrap_tokenizer(hf: Any, name: str) -> TextTokenizer:
    """Wrap a `transformers` tokenizer that is already loaded; `name` is used in messages."""
    backend = getattr(hf, "backend_tokenizer", None)
    if backend is None:
        raise ValueError(
            f"--tokenizer {name}: {type(hf).__name__} is not backed by the tokenizers library; "
            "expected a folder with tokenizer.json"
        )
    rules = json.loads(backend.to_str())
    rules["truncation"] = rules["padding"] = None
    digest = _json_digest(rules)
    for token in rules["added_tokens"]:
        token["special"] |= CONTROL_TOKEN.fullmatch(token["content"]) is not None
    around, end = hf("", add_special_tokens=True)["input_ids"], hf.eos_token_id
    facts = TokenizerFacts(
        rules=json.dumps(rules),
        prefix_ids=tuple(around[:-1] if around and around[-1] == end else around),
        begin_id=hf.bos_token_id,
        end_id=end,
        digest=digest,
    )
    return TextTokenizer(name, facts, lambda: hf)


def chat_template_digest(template: str, variables: dict[str, object]) -> str:
    """Return the digest of a chat template and of the extra variables for rendering it."""
    text = template + "\0" + json.dumps(variables, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _json_digest(value: object) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()
