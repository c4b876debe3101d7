"""Encode one input split as documents of token ids, and count its records.

Worker processes run this. The result depends only on the split's bytes and the settings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jllm.data.chat.encode_chats import ChatEncoder
from jllm.data.chat.encode_prompts import PromptEncoder
from jllm.data.format.kinds import Kind
from jllm.data.format.record_counts import Problem
from jllm.data.packing.batches import DocumentBatch
from jllm.data.records.parse import Chat, Prompt, Record, Text, read_records
from jllm.data.records.splits import InputSplit, read_split
from jllm.data.tokenizer.encoder import Encoder


@dataclass(frozen=True, kw_only=True)
class EncodedSplit:
    """The result of a split.

    documents: in input order; their `records` are the lines (from 1) at which the records begin;
    record: int64 [documents], the record of the split (from 0) that each comes from; read: records
    in the split; problems: the unused records; truncated: records by what was cut off; unused:
    records by their unused keys; tokens: ids, without the overlap of pieces; trained: ids that are
    targets.
    """

    documents: DocumentBatch
    record: np.ndarray
    read: int
    problems: tuple[Problem, ...]
    truncated: Counter[str]
    unused: Counter[str]
    tokens: int
    trained: int


@dataclass(frozen=True, kw_only=True)
class SplitEncoder:
    """Encoder of input splits."""

    kind: Kind
    max_len: int
    stack: bool
    drop_untrained: bool
    max_record_bytes: int
    encoder: Encoder
    chats: ChatEncoder | PromptEncoder | None
    """For kinds "ft" and "rl"."""

    def __call__(self, split: InputSplit) -> EncodedSplit:
        """Read, check and encode the records of a split. Raises EncodersDiffer."""
        records = list(
            read_records(
                split,
                read_split(split),
                self.kind,
                drop_unanswered=self.drop_untrained,
                max_record_bytes=self.max_record_bytes,
            )
        )
        if isinstance(self.chats, PromptEncoder):
            return self._prompts(records, self.chats)
        if self.chats is not None:
            return self._chats(records, self.chats)
        return self._texts(records)

    def _texts(self, records: Sequence[Record | Problem]) -> EncodedSplit:
        """Encode texts: a document is the tokenizer's own prefix (if any), the ids of the text and
        the document-end id.
        """
        problems = [record for record in records if isinstance(record, Problem)]
        texts = [(n, record) for n, record in enumerate(records) if isinstance(record, Text)]
        tokenizer = self.encoder.tokenizer
        before = np.array(tokenizer.prefix_ids, np.int32)
        after = np.array([tokenizer.document_end_id], np.int32)
        pieces, lengths, of_record, trained = [], [], [], 0
        encoded = self.encoder.encode([text.text for _, text in texts])
        for (number, text), ids in zip(texts, encoded, strict=True):
            if not len(ids):
                problems.append(_empty(text.line))
                continue
            length = len(before) + len(ids) + 1
            pieces += [before, ids, after]
            lengths.append(length)
            of_record.append(number)
            trained += length - 1
        flat = np.concatenate(pieces) if pieces else np.zeros(0, np.int32)
        record = np.array(of_record, np.int64)
        documents = DocumentBatch(
            ids=flat, lengths=np.array(lengths, np.int64), records=_lines(records, record)
        )
        if not self.stack:
            documents, record = cut_long(documents, record, self.max_len)
        return EncodedSplit(
            documents=documents,
            record=record,
            read=len(records),
            problems=tuple(sorted(problems, key=lambda problem: problem.line)),
            truncated=Counter(),
            unused=_unused(records),
            tokens=len(flat),
            trained=trained,
        )

    def _chats(self, records: Sequence[Record | Problem], chats: ChatEncoder) -> EncodedSplit:
        numbered = [(n, record) for n, record in enumerate(records) if isinstance(record, Chat)]
        made = chats.encode([chat for _, chat in numbered])
        problems = [record for record in records if isinstance(record, Problem)] + made.problems
        numbers = np.array([number for number, _ in numbered], np.int64)
        record = numbers[made.chat]
        assert made.documents.loss_mask is not None
        return EncodedSplit(
            documents=made.documents,
            record=record,
            read=len(records),
            problems=tuple(sorted(problems, key=lambda problem: problem.line)),
            truncated=made.truncated,
            unused=_unused(records),
            tokens=len(made.documents.ids),
            trained=int(made.documents.loss_mask.sum()),
        )

    def _prompts(self, records: Sequence[Record | Problem], prompts: PromptEncoder) -> EncodedSplit:
        """Encode prompts, in which no id is trained."""
        numbered = [(n, record) for n, record in enumerate(records) if isinstance(record, Prompt)]
        made = prompts.encode([prompt for _, prompt in numbered])
        problems = [record for record in records if isinstance(record, Problem)] + made.problems
        numbers = np.array([number for number, _ in numbered], np.int64)
        return EncodedSplit(
            documents=made.documents,
            record=numbers[made.prompt],
            read=len(records),
            problems=tuple(sorted(problems, key=lambda problem: problem.line)),
            truncated=Counter(),
            unused=_unused(records),
            tokens=len(made.documents.ids),
            trained=0,
        )


def cut_long(
    documents: DocumentBatch, record: np.ndarray, max_len: int
) -> tuple[DocumentBatch, np.ndarray]:
    """Cut documents longer than a row into pieces of `max_len` ids that overlap by one.

    No id is lost, and every id but a document's first is a target once.
    """
    if not len(documents) or documents.lengths.max() <= max_len:
        return documents, record
    ends = np.cumsum(documents.lengths).tolist()
    pieces, lengths, of_record, lines = [], [], [], []
    for end, length, number, line in zip(
        ends, documents.lengths.tolist(), record.tolist(), documents.records.tolist(), strict=True
    ):
        start = end - length
        while True:
            stop = min(start + max_len, end)
            pieces.append(documents.ids[start:stop])
            lengths.append(stop - start)
            of_record.append(number)
            lines.append(line)
            if stop == end:
                break
            start = stop - 1
    cut = DocumentBatch(
        ids=np.concatenate(pieces),
        lengths=np.array(lengths, np.int64),
        records=np.array(lines, np.int64),
    )
    return cut, np.array(of_record, np.int64)


def _lines(records: Sequence[Record | Problem], record: np.ndarray) -> np.ndarray:
    """Return the line (int64 [documents]) at which the record of each document begins."""
    return np.array([one.line for one in records], np.int64)[record]


def _unused(records: Sequence[Record | Problem]) -> Counter[str]:
    """Return the number of records for each unused key."""
    return Counter(
        key for record in records if not isinstance(record, Problem) for key in record.unused
    )


def _empty(line: int) -> Problem:
    return Problem(line=line, reason="empty text", detail="no token in it", fatal=False)
