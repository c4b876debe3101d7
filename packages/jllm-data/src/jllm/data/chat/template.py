"""Chats → the text that the model sees when served, and where the answers lie in it.

The tokenizer's own Jinja template, rendered by Transformers, is the reference. For an answer,
message k, two renderings matter: the *prompt*, which is the messages before k with
`add_generation_prompt=True`, as the server gives it to the model; and the dialogue up to and
including k. The prompt must be a prefix of the latter (the prefix property); the rest is the
answer. The answer ends with the first special token after its text: the end of turn. It is trained
from the end of the prompt to the end of turn; what follows (usually a newline) is not.

Where an earlier answer is rendered differently once the dialogue goes on (Qwen3 removes past
reasoning), or tokenised differently (`token_boundaries.py`), the dialogue becomes several examples,
one for each answer, each as it would be served.

A template that only places the contents is rendered once for each sequence of roles
(`static_analysis.py`), any other at least once for each dialogue. From file to file, one process
converts 20 000 chats/s in the first case and 5 500 in the second (SmolLM2; 290 characters a chat,
one answer); with two answers, 15 000 and 3 300.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateError

from jllm.data.chat.jinja_ast import parse_template
from jllm.data.chat.refused import ChatRefused, DateWanted
from jllm.data.chat.rendered import (
    Example,
    Filled,
    TextSpan,
    difference,
    holds_answer,
    place_contents,
    readable,
)
from jllm.data.chat.static_analysis import Guard, guards_of
from jllm.data.chat.token_boundaries import BoundaryMerges, history_begins_with_space
from jllm.data.chat.typed_specials import hide_specials
from jllm.data.records.formats.dialogue import Message, Tool
from jllm.data.tokenizer.load import TextTokenizer

SHAPES = 256
"""The most sequences of roles that are remembered at a time (about 0.1 MB each)."""


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """What was learnt about all dialogues with one sequence of roles."""

    guards: frozenset[Guard] | None
    """The conditions on contents under which `examples` hold; None: render every dialogue."""
    examples: tuple[Example, ...]
    trimmed: tuple[bool, ...]
    closings: tuple[str, ...]
    """For each answer, what the template writes after its text."""


@dataclass(kw_only=True)
class ChatTemplate:
    """The chat template of a tokenizer, with what was learnt about each sequence of roles."""

    tokenizer: TextTokenizer
    variables: dict[str, Any] = field(default_factory=dict)
    """Extra variables of the template (`enable_thinking`), as given when serving."""
    _shapes: dict[tuple[str, ...], _Shape] = field(default_factory=dict)
    tool_shapes: dict[tuple[Any, ...], tuple[str, ...]] = field(default_factory=dict)
    """What `tool_dialogues` learnt: the closings of each sequence of roles and calls."""

    def __post_init__(self) -> None:
        """Raise ValueError where the tokenizer has no chat template, or no single one."""
        hf = self.tokenizer.hf
        if not hf.chat_template:
            raise ValueError(
                f"--tokenizer {self.tokenizer.name} has no chat template, so chats cannot be "
                "rendered; use the instruct model's tokenizer or put chat_template.jinja there"
            )
        self.source: str = hf.get_chat_template()
        specials = sorted(self.tokenizer.specials, key=len, reverse=True)
        self.special = re.compile("|".join(map(re.escape, specials)) or r"(?!)")
        self._cuts = BoundaryMerges(tokenizer=self.tokenizer, special=self.special)
        self._tree = parse_template(self.source)

    def examples(self, messages: Sequence[Message]) -> list[Filled]:
        """Return the training examples of a dialogue that ends with an answer.

        Raises ChatRefused when the template refuses the dialogue, hides an answer, or fails the
        prefix property.
        """
        roles = tuple(message["role"] for message in messages)
        shape = self._shape(roles)
        contents = [message["content"] for message in messages]
        placed = place_contents(messages, shape.trimmed) if shape.guards is not None else []
        if (
            shape.guards is not None
            and all(guard.holds(content) for guard in shape.guards for content in contents)
            and not (len(shape.examples) == 1 and history_begins_with_space(roles, placed))
        ):
            return [Filled(example=example, contents=placed) for example in shape.examples]
        hidden, typed = hide_specials(self.special, contents)
        texts = [{**m, "content": c} for m, c in zip(messages, hidden, strict=True)]
        return [
            Filled(example=example.restore(typed), contents=[])
            for example in self.render_examples(texts, shape.closings, marked=False)
        ]

    def check(self, messages: Sequence[Message], examples: Sequence[Filled]) -> None:
        """Compare examples that were filled in with real renderings of the dialogue."""
        contents = [message["content"] for message in messages]
        if any(self.special.search(content) for content in contents):
            return
        shape = self._shape(tuple(message["role"] for message in messages))
        real = self.render_examples(messages, shape.closings, marked=False)
        rendered = ["".join(piece.text for piece in example.pieces) for example in real]
        assert [filled.whole() for filled in examples] == rendered, (
            "a chat template that was found to place contents did something else with them; "
            "please report it with the template"
        )

    def render(
        self, messages: Sequence[Message], *, prompt: bool, tools: Sequence[Tool] = ()
    ) -> str:
        """Return the rendered text; `prompt`: with the generation prompt at its end."""
        try:
            return self.tokenizer.hf.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=prompt,
                tools=list(tools) or None, **{"strftime_now": self._date, **self.variables},
            )  # fmt: skip
        except DateWanted:
            raise
        except TemplateError as error:
            raise ChatRefused("template refused", f"the chat template says: {error}") from error
        except (TypeError, ValueError, IndexError, KeyError) as error:
            raise ChatRefused(
                "template refused", f"the chat template fails on it ({error})"
            ) from error

    def prompt(self, messages: Sequence[Message]) -> Example:
        """Return the prompt with which the model is asked for an answer. Raises ChatRefused."""
        hidden, typed = hide_specials(self.special, [message["content"] for message in messages])
        texts = [{**m, "content": c} for m, c in zip(messages, hidden, strict=True)]
        return self.cut(self.render(texts, prompt=True), [], marked=False).restore(typed)

    def _date(self, form: str) -> str:
        """Act as the template's `strftime_now`: ids must not depend on the date of conversion."""
        if "date_string" in self.variables:
            return str(self.variables["date_string"])
        raise DateWanted(
            f"--tokenizer {self.tokenizer.name}: the chat template writes today's date "
            f"({form}), which would make every day other ids; give one: "
            '--template_kwargs \'{"date_string": "26 Jul 2024"}\''
        )

    def _shape(self, roles: tuple[str, ...]) -> _Shape:
        """Return what is known about these roles (two threads may learn the same twice)."""
        shape = self._shapes.get(roles)
        if shape is None:
            if len(self._shapes) >= SHAPES:
                self._shapes.clear()
            shape = self._shapes[roles] = self._learn(roles)
        return shape

    def _learn(self, roles: tuple[str, ...]) -> _Shape:
        """Render once with placeholders for contents; find out for which contents that holds."""
        marks = [f"\ue000{number}\ue001" for number in range(len(roles))]
        messages = [{"role": r, "content": mark} for r, mark in zip(roles, marks, strict=True)]
        whole = self.render(messages, prompt=False)
        closings = []
        for number, role in enumerate(roles):
            if role == "assistant":
                text = self.render(messages[: number + 1], prompt=False)
                if marks[number] not in text:
                    raise ChatRefused(
                        "no answer in the text",
                        f"the chat template leaves out the text of message {number + 1}, "
                        "an answer: use a template that renders assistant messages",
                    )
                closings.append(text[text.rindex(marks[number]) + len(marks[number]) :])
            elif marks[number] not in whole:
                what = f"the chat template leaves out message {number + 1} ({role})"
                raise ChatRefused("template refused", what)
        known = tuple(closings)
        examples = tuple(self.render_examples(messages, known, marked=True))
        settled = len(known) == 1 or all(map(self._cuts.clean, examples))
        placing = self._tree if settled and not self._takes_space(whole) else None
        guards = None if placing is None else guards_of(placing, frozenset(roles))
        trimmed = None if guards is None else self._trimmed(messages, examples, known, guards)
        return _Shape(
            guards=None if trimmed is None else guards,
            examples=examples,
            trimmed=trimmed or (),
            closings=known,
        )

    def _takes_space(self, text: str) -> bool:
        """Return whether a special token in the text takes the white space next to it."""
        tokens = [self.tokenizer.special_tokens[found] for found in self.special.findall(text)]
        return any(token.lstrip or token.rstrip for token in tokens)

    def _trimmed(
        self,
        messages: Sequence[Message],
        examples: tuple[Example, ...],
        closings: tuple[str, ...],
        guards: frozenset[Guard],
    ) -> tuple[bool, ...] | None:
        """Find out which contents are trimmed: render them all with white space around them."""
        stripped = {character for guard in guards if guard.method for character in guard.text}
        edge = next((character for character in " \t\n\r" if character not in stripped), None)
        if edge is None:
            return None
        padded = [{**m, "content": f"{edge}{m['content']}{edge}"} for m in messages]
        real = self.render_examples(padded, closings, marked=False)
        text = "".join(text for example in real for text in Filled(example=example).texts())
        trimmed = tuple(message["content"] not in text for message in padded)
        placed = place_contents(padded, trimmed)
        filled = [Filled(example=example, contents=placed).texts() for example in examples]
        same = filled == [Filled(example=example).texts() for example in real]
        return trimmed if same else None

    def render_examples(
        self,
        messages: Sequence[Message],
        closings: tuple[str, ...],
        *,
        marked: bool,
        tools: Sequence[Tool] = (),
    ) -> list[Example]:
        """Return the examples of a dialogue whose contents hold no special token's text.

        `closings`: for each answer, what the template writes after its text.
        """
        whole = self.render(messages, prompt=False, tools=tools)
        answers = [number for number, m in enumerate(messages) if m["role"] == "assistant"]
        spans, texts = [], []
        for number, closing in zip(answers, closings, strict=True):
            prompt = self.render(messages[:number], prompt=True, tools=tools)
            last = number == len(messages) - 1
            text = whole if last else self.render(messages[: number + 1], prompt=False, tools=tools)
            if not text.startswith(prompt):
                raise ChatRefused(
                    "no prefix property",
                    f"the prompt of message {number + 1} is not how the text with its answer "
                    f"begins, so training would differ from serving; {difference(prompt, text)}",
                )
            spans.append(self._span(len(prompt), text, closing, number))
            if not holds_answer(messages[number], text, len(prompt), closing):
                raise ChatRefused(
                    "no answer in the text",
                    f"the chat template leaves out part of the text of message {number + 1}, an "
                    "answer; use a template that renders all of it",
                )
            texts.append(text)
        turns = [text[: span.stop] for text, span in zip(texts, spans, strict=True)]
        if all(whole.startswith(turn) for turn in turns) and not any(
            self._cuts.crossed(whole, span.start) for span in spans[:-1]
        ):
            return [self.cut(whole, spans, marked=marked)]
        return [
            self.cut(text, [span], marked=marked) for text, span in zip(texts, spans, strict=True)
        ]

    def cut(self, text: str, spans: list[TextSpan], *, marked: bool) -> Example:
        """Cut a rendered text at special tokens and where answers begin and end."""
        return Example.cut(text, spans, self.special, self.tokenizer, marked=marked)

    def _span(self, start: int, text: str, closing: str, number: int) -> TextSpan:
        if not text.endswith(closing) or len(text) - len(closing) < start:
            raise ChatRefused(
                "template refused",
                f"the chat template ends the answer, message {number + 1}, in "
                f"{readable(text)[-40:]!r}; expected {closing!r}",
            )
        end = self.special.search(closing)
        if end is None:
            raise ChatRefused(
                "no end of turn",
                f"the chat template writes no special token after an answer (but {closing!r}), so "
                "a model could not learn to stop; put the end-of-sequence token there",
            )
        return TextSpan(start=start, stop=len(text) - len(closing) + end.end())
