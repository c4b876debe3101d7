"""Chats → documents of token ids, each with its loss mask.

A dialogue is trained up to its last answer. One longer than max_len keeps its first turns, up to
the last answer that fits whole; it is dropped if not even the first answer fits. Both cases are
counted. Costs about 10 µs a dialogue, besides the encoding of its texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from jllm.data.chat.refused import ChatRefused
from jllm.data.chat.render_options import has_reasoning, without_names
from jllm.data.chat.rendered import Filled, Piece
from jllm.data.chat.template import ChatTemplate
from jllm.data.chat.tool_dialogues import tool_examples, uses_tools
from jllm.data.format.record_counts import Problem
from jllm.data.packing.batches import DocumentBatch
from jllm.data.records.formats.dialogue import Message
from jllm.data.records.parse import Chat
from jllm.data.tokenizer.encoder import Encoder

SAMPLE = 256
"""The first dialogue of a work unit and every 256th after it are rendered in full and compared."""
BEYOND, AFTER = "turns beyond max_len", "turns after the last answer"


@dataclass(frozen=True, kw_only=True)
class ChatDocuments:
    """Documents with a loss mask; `chat`: int64 [documents], the chat that each comes from."""

    documents: DocumentBatch
    chat: np.ndarray
    problems: list[Problem]
    truncated: Counter[str]


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    """One example: the ids of its pieces, and for each piece whether it is trained."""

    arrays: list[np.ndarray]
    trained: list[bool]
    cut: bool = False

    def trained_ids(self) -> int:
        return sum(len(a) for a, t in zip(self.arrays, self.trained, strict=True) if t)


@dataclass(kw_only=True)
class ChatEncoder:
    """Encodes chats with a template."""

    template: ChatTemplate
    encoder: Encoder
    max_len: int
    drop_untrained: bool
    """Whether to drop dialogues with at most one trained id (the end of turn)."""
    without_thinking: ChatTemplate | None = None
    """The template for dialogues without reasoning in any answer; None: `template` is for all."""
    _known: dict[tuple[str, int | None], np.ndarray] = field(default_factory=dict)

    def encode(self, chats: Sequence[Chat]) -> ChatDocuments:
        """Encode all chats of a work unit at once. Raises EncodersDiffer."""
        problems: list[Problem] = []
        truncated: Counter[str] = Counter()
        rendered = [self._render(number, chat, problems) for number, chat in enumerate(chats)]
        ids = iter(
            self.encoder.encode([t for e in rendered for f in e for t in f.changing_texts()])
        )
        kept: list[_Encoded] = []
        owners: list[int] = []
        for number, (chat, examples) in enumerate(zip(chats, rendered, strict=True)):
            whole = [self._encoded(filled.example.pieces, ids) for filled in examples]
            fitting = [self._fit(one, filled) for one, filled in zip(whole, examples, strict=True)]
            usable = [one for one in fitting if one is not None and self._worth(one)]
            if usable:
                truncated[AFTER] += chat.messages[-1]["role"] != "assistant"
                truncated[BEYOND] += None in fitting or any(one.cut for one in usable)
            elif examples:
                problems.append(self._dropped(chat.line, whole, longer=None in fitting))
            kept += usable
            owners += [number] * len(usable)
        return ChatDocuments(
            documents=_join(kept, [chats[owner].line for owner in owners]),
            chat=np.array(owners, np.int64),
            problems=problems,
            truncated=+truncated,
        )

    def probe(self) -> None:
        """Compare the ids of a small dialogue's prompt with those from Transformers.

        Raises ValueError where the tokenizer encodes a text differently once it is cut at special
        tokens (SentencePiece-like tokenizers, which mark the beginning of a text).
        """
        asked = {"role": "user", "content": "How much is 1 + 1?\n\n Tell me!"}
        answered = (asked, {"role": "assistant", "content": "Two."})
        try:
            prompt = self._template(answered).render([asked], prompt=True)
            made = self.encode([Chat(line=0, messages=answered)])
        except ChatRefused:
            return
        if made.problems or not len(made.documents):
            return
        tokenizer = self.encoder.tokenizer
        expected = tokenizer.hf(prompt, add_special_tokens=False)["input_ids"]
        if made.documents.ids[: len(expected)].tolist() != list(expected):
            raise ValueError(
                f"--tokenizer {tokenizer.name}: the prompt has other tokens when its text is cut "
                "at special tokens, so chats cannot be converted exactly; use a byte-level one"
            )

    def _render(self, number: int, chat: Chat, problems: list[Problem]) -> list[Filled]:
        messages = _up_to_last_answer(chat.messages)
        try:
            template = self._template(messages)
            if uses_tools(messages, chat.tools):
                return tool_examples(template, messages, chat.tools)
            messages = without_names(template, messages)
            examples = template.examples(messages)
            if number % SAMPLE == 0:
                template.check(messages, examples)
        except ChatRefused as why:
            problems.append(Problem(line=chat.line, reason=why.reason, detail=why.detail))
            return []
        return examples

    def _template(self, messages: Sequence[Message]) -> ChatTemplate:
        if self.without_thinking is None or has_reasoning(messages):
            return self.template
        return self.without_thinking

    def _encoded(self, pieces: Sequence[Piece], ids: Iterator[np.ndarray]) -> _Encoded:
        return _Encoded(
            arrays=[
                self._same(piece) if piece.special_id is not None or piece.constant else next(ids)
                for piece in pieces
            ],
            trained=[piece.trained for piece in pieces],
        )

    def _same(self, piece: Piece) -> np.ndarray:
        """Return the ids of a piece that is the same in every dialogue."""
        known = self._known.get((piece.text, piece.special_id))
        if known is None:
            special = piece.special_id
            known = np.array([special], np.int32) if special is not None else None
            known = self.encoder.encode([piece.text])[0] if known is None else known
            self._known[piece.text, special] = known
        return known

    def _fit(self, one: _Encoded, filled: Filled) -> _Encoded | None:
        """Return the example, or its longest part that ends with an answer and fits a row.

        None where no part fits.
        """
        if sum(map(len, one.arrays)) <= self.max_len:
            return one
        total, count = 0, 0
        for number, (piece, array) in enumerate(
            zip(filled.example.pieces, one.arrays, strict=True)
        ):
            total += len(array)
            if total > self.max_len:
                break
            if piece.ends_answer:
                count = number + 1
        if not count:
            return None
        return _Encoded(
            arrays=one.arrays[:count], trained=one.trained[:count], cut=any(one.trained[count:])
        )

    def _worth(self, one: _Encoded) -> bool:
        return not self.drop_untrained or one.trained_ids() > 1

    def _dropped(self, line: int, whole: Sequence[_Encoded], *, longer: bool) -> Problem:
        if not longer:
            detail = "every answer is empty"
            return Problem(line=line, reason="no trained label", detail=detail, fatal=False)
        shortest = min(sum(map(len, one.arrays)) for one in whole)
        return Problem(
            line=line,
            reason="longer than max_len",
            detail=f"{shortest} ids, and its first answer ends beyond {self.max_len}",
            fatal=False,
        )


def _join(kept: Sequence[_Encoded], lines: Sequence[int]) -> DocumentBatch:
    arrays = [array for one in kept for array in one.arrays]
    sizes = np.array([len(array) for array in arrays], np.int64)
    flags = np.array([flag for one in kept for flag in one.trained], bool)
    lengths = np.array([sum(map(len, one.arrays)) for one in kept], np.int64)
    trained = np.repeat(flags, sizes)
    trained[np.cumsum(lengths) - lengths] = False
    ids = np.concatenate(arrays) if arrays else np.zeros(0, np.int32)
    records = np.array(lines, np.int64)
    return DocumentBatch(ids=ids, lengths=lengths, records=records, loss_mask=trained)


def _up_to_last_answer(messages: Sequence[Message]) -> Sequence[Message]:
    answers = [n for n, message in enumerate(messages) if message["role"] == "assistant"]
    return messages[: answers[-1] + 1]
