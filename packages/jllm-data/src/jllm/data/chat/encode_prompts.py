"""RL prompts → token ids: the input that a server gives the model.

A prompt has the ids of `apply_chat_template(messages, add_generation_prompt=True)`, except that
text typed by a user never becomes a special token. Every prompt is rendered: about 5 000 a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from jllm.data.chat.refused import ChatRefused
from jllm.data.chat.render_options import without_names
from jllm.data.chat.rendered import Filled
from jllm.data.chat.template import ChatTemplate
from jllm.data.chat.tool_dialogues import tool_prompt, uses_tools
from jllm.data.format.record_counts import Problem
from jllm.data.packing.batches import DocumentBatch
from jllm.data.records.formats.dialogue import Message
from jllm.data.records.parse import Prompt
from jllm.data.tokenizer.encoder import Encoder


@dataclass(frozen=True, kw_only=True)
class PromptDocuments:
    """Documents with `number`; `prompt`: int64 [documents], the prompt that each comes from."""

    documents: DocumentBatch
    prompt: np.ndarray
    problems: list[Problem]


@dataclass(frozen=True, kw_only=True)
class PromptEncoder:
    """Encodes prompts with a template."""

    template: ChatTemplate
    encoder: Encoder
    max_len: int
    _left_out: dict[tuple[str, ...], str] = field(default_factory=dict)

    def encode(self, prompts: Sequence[Prompt]) -> PromptDocuments:
        """Encode all prompts of a work unit at once; one longer than `max_len` is a problem."""
        problems, kept = [], []
        rendered = [self._render(prompt, problems) for prompt in prompts]
        texts = iter(self.encoder.encode([t for one in rendered if one for t in one.texts()]))
        for number, (prompt, filled) in enumerate(zip(prompts, rendered, strict=True)):
            if filled is None:
                continue
            pieces = [
                next(texts) if piece.special_id is None else np.array([piece.special_id], np.int32)
                for piece in filled.example.pieces
            ]
            ids = np.concatenate([np.zeros(0, np.int32), *pieces])
            if 0 < len(ids) <= self.max_len:
                kept.append((number, ids))
            else:
                problems.append(_unusable(prompt.line, len(ids), self.max_len))
        owners = [prompts[number] for number, _ in kept]
        documents = DocumentBatch(
            ids=np.concatenate([np.zeros(0, np.int32), *(ids for _, ids in kept)]),
            lengths=np.array([len(ids) for _, ids in kept], np.int64),
            records=np.array([prompt.line for prompt in owners], np.int64),
            number=np.array([prompt.number for prompt in owners], np.int32),
        )
        which = np.array([number for number, _ in kept], np.int64)
        return PromptDocuments(documents=documents, prompt=which, problems=problems)

    def probe(self) -> None:
        """Compare the ids of a small prompt with those from Transformers.

        Raises ValueError where the tokenizer encodes a text differently once it is cut at special
        tokens.
        """
        asked = {"role": "user", "content": "How much is 1 + 1?\n\n Tell me!"}
        try:
            text = self.template.render([asked], prompt=True)
        except ChatRefused:
            return
        made = self.encode([Prompt(line=0, number=0, messages=(asked,))])
        tokenizer = self.encoder.tokenizer
        expected = list(tokenizer.hf(text, add_special_tokens=False)["input_ids"])
        if len(made.documents) and made.documents.ids.tolist() != expected:
            raise ValueError(
                f"--tokenizer {tokenizer.name}: a prompt has other tokens when its text is cut at "
                "special tokens, so prompts cannot be converted exactly; use a byte-level one"
            )

    def _render(self, prompt: Prompt, problems: list[Problem]) -> Filled | None:
        try:
            if uses_tools(prompt.messages, prompt.tools):
                return tool_prompt(self.template, prompt.messages, prompt.tools)
            messages = without_names(self.template, prompt.messages)
            self._check_roles(tuple(message["role"] for message in messages))
            return Filled(example=self.template.prompt(messages))
        except ChatRefused as why:
            problems.append(Problem(line=prompt.line, reason=why.reason, detail=why.detail))
            return None

    def _check_roles(self, roles: tuple[str, ...]) -> None:
        """Raise ChatRefused where the template leaves out a message from anyone but the model."""
        if roles not in self._left_out:
            marks = [f"\ue000{number}\ue001" for number in range(len(roles))]
            messages: list[Message] = [
                {"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)
            ]
            text = self.template.render(messages, prompt=True)
            self._left_out[roles] = next(
                (
                    f"message {number} ({role})"
                    for number, (role, mark) in enumerate(zip(roles, marks, strict=True), 1)
                    if role != "assistant" and mark not in text
                ),
                "",
            )
        if self._left_out[roles]:
            raise ChatRefused(
                "template refused", f"the chat template leaves out {self._left_out[roles]}"
            )


def _unusable(line: int, count: int, max_len: int) -> Problem:
    if not count:
        return Problem(line=line, reason="empty text", detail="no token in it", fatal=False)
    detail = f"the prompt has {count} ids, expected at most {max_len}"
    return Problem(line=line, reason="longer than max_len", detail=detail, fatal=False)
