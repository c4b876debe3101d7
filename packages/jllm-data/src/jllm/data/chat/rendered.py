"""A rendered dialogue, cut into special tokens and the texts between them.

Only special tokens written by the *template* count. Text is cut at them and where an answer begins,
nowhere else. So the prompt has exactly the ids that `apply_chat_template` gives, and the answer the
ids of its own text alone. Where an earlier answer has other ids in the served history
(`token_boundaries.py`), each answer becomes an example of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from jllm.data.records.formats.dialogue import Message
from jllm.data.tokenizer.load import TextTokenizer

MARKED = re.compile("\ue000([0-9]+)\ue001")


@dataclass(frozen=True, kw_only=True)
class TextSpan:
    """The characters [start, stop) of a rendered text: an answer with its end of turn."""

    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of an example: a special token, or text.

    `text` may hold placeholders for contents; `parts` is the same text split at them: texts and
    message numbers in alternation, beginning with a text.
    """

    text: str
    special_id: int | None
    trained: bool
    ends_answer: bool = False
    parts: tuple[str | int, ...] = ()
    constant: bool = False
    """Whether the text is the same in every dialogue."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A training example: the pieces of a dialogue in order."""

    pieces: tuple[Piece, ...]

    @staticmethod
    def cut(
        text: str,
        answers: Sequence[TextSpan],
        special: re.Pattern[str],
        tokenizer: TextTokenizer,
        *,
        marked: bool,
    ) -> Example:
        """Cut `text` at its special tokens and where answers begin and end.

        `marked`: the contents are placeholders; otherwise the text is that of a real dialogue.
        """
        found = [(match.start(), match.end()) for match in special.finditer(text)]
        edges = {0, len(text)} | {edge for span in found for edge in span}
        edges |= {edge for span in answers for edge in (span.start, span.stop)}
        cuts = sorted(edges)
        pieces = []
        for start, stop in zip(cuts, cuts[1:], strict=False):
            words = text[start:stop]
            at = (start, stop)
            number = tokenizer.specials[words] if at in found else None
            if number is None:
                words = _strip_beside(text, start, stop, found, tokenizer)
            inside = any(span.start <= start and stop <= span.stop for span in answers)
            if number is not None or words:
                parts = _parts(words) if marked else (words,)
                pieces.append(
                    Piece(
                        text=words,
                        special_id=number,
                        trained=inside,
                        ends_answer=any(stop == span.stop for span in answers),
                        parts=parts,
                        constant=marked and number is None and len(parts) == 1,
                    )
                )
        return Example(pieces=tuple(pieces))

    def restore(self, typed: dict[str, str]) -> Example:
        """Put typed texts of special tokens back for their stand-ins; they become ordinary text."""
        if not typed:
            return self
        pattern = re.compile("|".join(map(re.escape, typed)))
        pieces = [
            piece
            if piece.special_id is not None
            else replace(piece, text=(text := _put_back(piece.text, pattern, typed)), parts=(text,))
            for piece in self.pieces
        ]
        return Example(pieces=tuple(pieces))


@dataclass(frozen=True, kw_only=True)
class Filled:
    """An example and the contents to put in place of its placeholders."""

    example: Example
    contents: Sequence[str] = ()

    def texts(self) -> list[str]:
        """Return the texts of all pieces that are not special tokens, in order."""
        return [self._filled(piece) for piece in self.example.pieces if piece.special_id is None]

    def changing_texts(self) -> list[str]:
        """Return the same texts without those of constant pieces."""
        return [
            self._filled(piece)
            for piece in self.example.pieces
            if piece.special_id is None and not piece.constant
        ]

    def whole(self) -> str:
        """Return the text of all pieces."""
        return "".join([self._filled(piece) for piece in self.example.pieces])

    def _filled(self, piece: Piece) -> str:
        if len(piece.parts) == 1:
            return piece.text
        contents = self.contents
        return "".join([part if isinstance(part, str) else contents[part] for part in piece.parts])


def holds_answer(message: Message, text: str, start: int, closing: str) -> bool:
    """Return whether an answer's text, white space aside, stands where it should.

    That is right before `closing`, which ends the text; for an answer that calls tools, anywhere
    after `start`, where the answer begins.
    """
    answer = message["content"] or ""
    if text.endswith(answer + closing):
        return True
    words = "".join(answer.split())
    if "tool_calls" in message:
        return words in "".join(text[start:].split())
    return "".join(text[: len(text) - len(closing)].split()).endswith(words)


def place_contents(messages: Sequence[Message], trimmed: Sequence[bool]) -> list[str]:
    """Return the contents as the template places them."""
    return [
        message["content"].strip() if trim else message["content"]
        for message, trim in zip(messages, trimmed, strict=True)
    ]


def difference(prompt: str, text: str) -> str:
    """Return where two texts begin to differ, as a message for the user."""
    prompt, text = readable(prompt), readable(text)
    pairs = enumerate(zip(prompt, text, strict=False))
    at = next((n for n, (a, b) in pairs if a != b), min(len(prompt), len(text)))
    return f"after {prompt[max(0, at - 40) : at]!r} the prompt has {prompt[at : at + 40]!r}, " \
           f"the text {text[at : at + 40]!r}"  # fmt: skip


def readable(text: str) -> str:
    """Return the text with placeholders written as ⟨message n⟩."""
    return MARKED.sub(lambda found: f"⟨message {int(found[1]) + 1}⟩", text)


def _strip_beside(
    text: str, start: int, stop: int, found: list[tuple[int, int]], tokenizer: TextTokenizer
) -> str:
    """Return the text less white space that adjacent special tokens take (`rstrip`, `lstrip`)."""
    words = text[start:stop]
    for span in found:
        token = tokenizer.special_tokens[text[slice(*span)]]
        if span[1] == start and token.rstrip:
            words = words.lstrip()
        if span[0] == stop and token.lstrip:
            words = words.rstrip()
    return words


def _put_back(text: str, pattern: re.Pattern[str], typed: dict[str, str]) -> str:
    return pattern.sub(lambda found: typed[found[0]], text)


def _parts(text: str) -> tuple[str | int, ...]:
    parts: list[str | int] = list(MARKED.split(text))
    parts[1::2] = [int(str(number)) for number in parts[1::2]]
    return tuple(parts)
