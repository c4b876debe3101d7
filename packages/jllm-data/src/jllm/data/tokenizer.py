"""A tokenizer directory → what conversion needs of it: ids of text, special tokens, digests.

`tokenizers` (through Transformers' AutoTokenizer, never with remote code) is the truth. Special
tokens are never parsed out of text: `encode_special_tokens` is set on a private copy, so that
"<|im_end|>" typed by somebody becomes the ordinary tokens of these ten characters. Every token
written like <|…|> counts as special, whatever its flag says (DeepSeek's <｜User｜> is not flagged).
Other added tokens that are not special (`<think>` of many models) are ordinary words.
Loading takes a second or two.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Tokenizer

CONTROL_TOKEN = re.compile(r"<[|｜].*[|｜]>", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class TextTokenizer:
    """A loaded tokenizer. `hf` renders chat templates; `core` makes ids."""

    name: str
    hf: Any
    """The `transformers` tokenizer."""
    core: Tokenizer
    """Without truncation and padding, and with special tokens taken as text."""
    specials: dict[str, int]
    """Every special token's text and id."""
    special_tokens: dict[str, AddedToken]
    """The same with the rules for white space around them."""
    added_words: tuple[str, ...]
    """Added tokens that are not special: found in text as whole words of the vocabulary."""
    prefix_ids: tuple[int, ...]
    """What the tokenizer itself puts before a text (<s> for many), kept for pre-training."""
    document_end_id: int | None
    """The end-of-sequence id."""
    digest: str
    """Of the vocabulary, merges, rules and added tokens; the same wherever it is loaded."""
    specials_digest: str
    """Of the special tokens with their ids, and of those that begin and end a text."""


def load_tokenizer(name: str) -> TextTokenizer:
    """Load a tokenizer directory (or Hugging Face name).

    Raises ValueError when it cannot be read or is not a `tokenizers` tokenizer.
    """
    from transformers import AutoTokenizer

    if name.startswith((".", "/", "~")) and not os.path.isdir(os.path.expanduser(name)):
        raise ValueError(f"--tokenizer {name}: no such folder")
    try:
        hf = AutoTokenizer.from_pretrained(os.path.expanduser(name), trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"--tokenizer {name}: {first}; expected a folder with tokenizer.json and "
            "tokenizer_config.json (a Hugging Face model folder)"
        ) from error
    return wrap_tokenizer(hf, name)


def wrap_tokenizer(hf: Any, name: str) -> TextTokenizer:
    """The same of an already loaded `transformers` tokenizer; `name` is used in messages."""
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
    core = Tokenizer.from_str(json.dumps(rules))
    core.encode_special_tokens = True
    added = list(core.get_added_tokens_decoder().items())
    around = hf("", add_special_tokens=True)["input_ids"]
    end = hf.eos_token_id
    specials = {token.content: number for number, token in added if token.special}
    return TextTokenizer(
        name=name,
        hf=hf,
        core=core,
        specials=specials,
        special_tokens={token.content: token for _, token in added if token.special},
        added_words=tuple(token.content for _, token in added if not token.special),
        prefix_ids=tuple(around[:-1] if around and around[-1] == end else around),
        document_end_id=end,
        digest=digest,
        specials_digest=_json_digest([specials, hf.bos_token_id, end]),
    )


def chat_template_digest(template: str, variables: dict[str, object]) -> str:
    """Of a chat template and the extra variables that it is rendered with."""
    text = template + "\0" + json.dumps(variables, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _json_digest(value: object) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()
