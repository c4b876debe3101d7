"""Find the first text that two tokenizers encode differently, and describe it in lines.

Pure functions that read no files. If no sample text tells the tokenizers apart, the result names
the first differing vocabulary entry or the part of the rules that differs; for special tokens,
which ones; for chat templates, the first place where a rendered sample dialogue differs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from jllm.data.chat.refused import ChatRefused
from jllm.data.chat.template import ChatTemplate
from jllm.data.records.formats.dialogue import Message
from jllm.data.tokenizer.load import TextTokenizer

SAMPLES = (
    "The quick brown fox's 4294967296 jumps 3.14, don't we'll THEY'RE naïve café ﬁ ½",
    "Übergrößenträger Привет, мир! 你好，世界。こんにちは 안녕하세요 مرحبا שלום नमस्ते สวัสดี 🙂👩‍👩‍👧",
    " a  b   c\td\n\n\ne \r\n f        g\u00a0h",
    "def f(x):\n    return [x ** 2, {'a': 0x1F}]  # µ → ≠\nfor (int i=0; i<10; ++i) { s += 1; }",
    "<think>\nhmm\n</think>\n\n<tool_call>{}</tool_call> <s> </s> <|im_start|> <|im_end|>",
)
_BEFORE, _AFTER = 3, 5
"""Number of tokens shown before and after the first difference."""
_LISTED = 8
_DIALOGUES: tuple[tuple[tuple[str, str], ...], ...] = (
    (("user", "Hello"),),
    (("system", "Be brief."), ("user", "1 + 1?"), ("assistant", "2"), ("user", "2 + 2?")),
    (("user", "1?"), ("assistant", "<think>\nhmm\n</think>\n\n2"), ("user", " 2?\n")),
    (("user", "1?"), ("assistant", "2"), ("tool", "3"), ("user", "4")),
)


@dataclass(frozen=True, kw_only=True)
class Named:
    """A tokenizer, and the name of its owner for the messages."""

    whose: str
    tokenizer: TextTokenizer


def tokens_difference(
    one: Named, other: Named, samples: Iterable[tuple[str, str]] = ()
) -> list[str]:
    """Return the first difference in tokens as lines; [] if the tokenizers have the same rules.

    `samples`: (name, text), tried before SAMPLES and every special token.
    """
    for name, text in (*samples, *_fixed(one.tokenizer, other.tokenizer)):
        first, second = (_ids(named.tokenizer, text) for named in (one, other))
        if first != second:
            return [f"the first text with other ids: {name}", *_beside(one, other, first, second)]
    return _rules_difference(one, other)


def specials_difference(one: Named, other: Named) -> list[str]:
    """Return the special tokens that differ, one a line."""
    first, second = (_specials(named.tokenizer) for named in (one, other))
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    lines = [
        f"{name}: {one.whose} {first.get(name, 'none')}, {other.whose} {second.get(name, 'none')}"
        for name in names[:_LISTED]
    ]
    return [*lines, *([f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else [])]


def template_difference(one: Named, other: Named) -> list[str]:
    """Return the first place where a rendered sample dialogue differs, as lines."""
    for dialogue in _DIALOGUES:
        texts = [_rendered(named.tokenizer, dialogue) for named in (one, other)]
        if texts[0] != texts[1]:
            roles = ", ".join(role for role, _ in dialogue)
            return [f"a dialogue ({roles}) is rendered otherwise:", *_parted(one, other, *texts)]
    sources = [template_of(named.tokenizer) for named in (one, other)]
    return ["sample dialogues are rendered alike, the templates differ:",
            *_parted(one, other, *sources)]  # fmt: skip


def template_of(tokenizer: TextTokenizer) -> str:
    """Return the text of a tokenizer's chat template; empty if it has none, or several without a
    default."""
    found = tokenizer.hf.chat_template
    if isinstance(found, dict):
        return found.get("default", "")
    return found or ""


def _fixed(one: TextTokenizer, other: TextTokenizer) -> Iterator[tuple[str, str]]:
    yield from ((f"the sample {text[:24]!r}…", text) for text in SAMPLES)
    for token in dict.fromkeys([*one.specials, *other.specials]):
        yield f"{token!r} between words", f"a {token} b"


def _ids(tokenizer: TextTokenizer, text: str) -> list[int]:
    return list(tokenizer.hf(text, verbose=False)["input_ids"])


def _beside(one: Named, other: Named, first: list[int], second: list[int]) -> list[str]:
    """Return two lists of tokens around their first difference, side by side."""
    pairs = list(zip_longest(first, second))
    at = next(n for n, (a, b) in enumerate(pairs) if a != b)
    start = max(0, at - _BEFORE)
    left, right = (
        [named.whose, *(_shown(named.tokenizer, i) for i in ids[start : at + _AFTER])]
        for named, ids in ((one, first), (other, second))
    )
    width = max(map(len, left))
    lines = [f"  {a:{width}} | {b}".rstrip() for a, b in zip_longest(left, right, fillvalue="")]
    lines[1 + at - start] = "→" + lines[1 + at - start][1:]
    return [f"{at} tokens are the same, then:" if at else "from the first token on:", *lines]


def _shown(tokenizer: TextTokenizer, number: int) -> str:
    text = tokenizer.core.decode([number], skip_special_tokens=False)
    if not text or "�" in text:  # part of a character: show the vocabulary entry
        text = tokenizer.core.id_to_token(number) or ""
    return f"{number:>6} {text!r}"


def _rules_difference(one: Named, other: Named) -> list[str]:
    first, second = (
        {number: token for token, number in named.tokenizer.core.get_vocab(True).items()}
        for named in (one, other)
    )
    for number in sorted(first.keys() | second.keys()):
        here, there = first.get(number), second.get(number)
        if here != there:
            return [
                "the sample texts have the same ids, the vocabularies differ: "
                f"id {number} is {here!r} of {one.whose}, {there!r} of {other.whose}"
            ]
    rules = [json.loads(named.tokenizer.core.to_str()) for named in (one, other)]
    parts = [part for part in rules[0] if rules[0][part] != rules[1].get(part)]
    if not parts:
        return []
    return [f"the sample texts have the same ids, the rules differ in {', '.join(parts)}"]


def _specials(tokenizer: TextTokenizer) -> dict[str, object]:
    hf = tokenizer.hf
    ends = {"begin of text": hf.bos_token_id, "end of text": hf.eos_token_id}
    return {name: number for name, number in ends.items() if number is not None} | {
        repr(text): number for text, number in tokenizer.specials.items()
    }


def _rendered(tokenizer: TextTokenizer, dialogue: Iterable[tuple[str, str]]) -> str:
    if not template_of(tokenizer):
        return "(no chat template)"
    messages: list[Message] = [{"role": role, "content": text} for role, text in dialogue]
    template = ChatTemplate(tokenizer=tokenizer, variables={"date_string": "26 Jul 2024"})
    try:
        return template.render(messages, prompt=True)
    except ChatRefused as why:
        return f"({why.detail})"


def _parted(one: Named, other: Named, first: str, second: str) -> list[str]:
    pairs = enumerate(zip_longest(first, second))
    at = next(n for n, (a, b) in pairs if a != b)
    width = max(len(one.whose), len(other.whose))
    return [f"  after {first[max(0, at - 40) : at]!r}"] + [
        f"  {named.whose:{width}} {text[at : at + 60]!r}"
        for named, text in ((one, first), (other, second))
    ]
