"""The token contract: a model trained on rows, or served afterwards, uses the rows' tokenizer.

A data set states the digests of its tokenizer, chat template and special tokens, and keeps their
files. `check_contract` compares them with a model directory. If the files have the same bytes,
nothing is loaded (about 10 ms). Otherwise both digests are computed and, if they differ, the first
difference in tokens is worked out (3 to 6 s, mostly Transformers).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jllm.data.reading.dataset import Dataset
from jllm.data.reading.row_groups import RowGroupFiles
from jllm.data.tokenizer.load import TextTokenizer, chat_template_digest, load_tokenizer
from jllm.data.tools.verify.bundled_tokenizer import (
    has_tokenizer,
    kept_folder,
    local_copy,
    same_files,
)
from jllm.data.tools.verify.tokenizer_diff import (
    Named,
    specials_difference,
    template_difference,
    template_of,
    tokens_difference,
)

TOKENIZER, TEMPLATE, SPECIALS = "tokenizer", "chat template", "special tokens"
_ROWS, _IDS = 4, 2000
"""Rows of the data that are compared, and ids of each."""


@dataclass(frozen=True, kw_only=True)
class Digests:
    """The digests that identify a tokenizer; empty if not stated."""

    tokenizer: str
    chat_template: str
    special_tokens: str

    @classmethod
    def stated(cls, data: Dataset) -> Digests:
        """Return the digests stated in a data set's files."""
        return cls(
            tokenizer=data.tokenizer_digest,
            chat_template=data.chat_template_digest,
            special_tokens=data.special_tokens_digest,
        )

    @classmethod
    def of(cls, tokenizer: TextTokenizer) -> Digests:
        """Return the digests of a loaded tokenizer, with its template without variables."""
        template = template_of(tokenizer)
        return cls(
            tokenizer=tokenizer.digest,
            chat_template=chat_template_digest(template, {}) if template else "",
            special_tokens=tokenizer.specials_digest,
        )

    def differ(self, other: Digests) -> tuple[str, ...]:
        """Return what differs, among the digests that this one states."""
        stated = {
            TOKENIZER: (self.tokenizer, other.tokenizer),
            TEMPLATE: (self.chat_template, other.chat_template),
            SPECIALS: (self.special_tokens, other.special_tokens),
        }
        return tuple(what for what, (here, there) in stated.items() if here and here != there)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of a check: nothing, a message, or a contradiction with its evidence."""

    note: str = ""
    problem: str = ""
    comparison: tuple[str, ...] = ()
    """Lines for the user."""


def check_contract(data: Dataset, folder: Path, *, data_name: str, model_name: str) -> Verdict:
    """Compare a data set's tokenizer with that of a model directory.

    `data_name`, `model_name`: the names to use in messages (the flags that gave them). Raises
    OSError if a tokenizer kept behind a URL cannot be reached.
    """
    if not data.tokenizer_digest:
        return Verdict(
            note=f"{data_name} {data.path} does not say which tokenizer made it: whether that is "
            f"the one of {model_name} {folder} is not checked"
        )
    if not has_tokenizer(folder):
        return Verdict(
            note=f"{model_name} {folder} holds no tokenizer: whether it is the one that made "
            f"{data_name} {data.path} is not checked"
        )
    if same_files(data, folder):
        return Verdict()
    try:
        model = load_tokenizer(str(folder))
    except ValueError as error:
        reason = str(error).removeprefix("--tokenizer ")
        return Verdict(problem=f"the tokenizer of {model_name} cannot be compared: {reason}")
    stated = Digests.stated(data)
    differing = stated.differ(Digests.of(model))
    if not differing:
        return Verdict()
    with local_copy(data) as kept:
        ours = load_tokenizer(str(kept)) if kept else None
    if ours is not None:
        really = compare(ours, model, template=TEMPLATE in differing)
        if not really:
            return Verdict(note="" if differing == (TEMPLATE,) else _other_versions(data))
        differing = really
    other, those = ("other", "those") if differing == (SPECIALS,) else ("another", "that")
    problem = (
        f"{data_name} {data.path} was made with {other} {_joined(differing)} than {those} of "
        f"{model_name} {folder}"
    )
    if ours is None:
        hint = "" if TEMPLATE not in differing else ", perhaps by --template_kwargs alone"
        return Verdict(
            problem=problem,
            comparison=(f"{kept_folder(data)} is not there, so only the digests differ{hint}",),
        )
    pair = Named(whose="data", tokenizer=ours), Named(whose="model", tokenizer=model)
    return Verdict(problem=problem, comparison=tuple(_shown(data, *pair, differing)))


def compare(ours: TextTokenizer, model: TextTokenizer, *, template: bool) -> tuple[str, ...]:
    """Return the differences of two loaded tokenizers; of their templates only if `template`."""
    found = Digests.of(ours).differ(Digests.of(model))
    other_text = template_of(ours) != template_of(model)
    return tuple(what for what in found if what != TEMPLATE) + (
        (TEMPLATE,) if template and other_text else ()
    )


def _shown(data: Dataset, one: Named, other: Named, differing: tuple[str, ...]) -> Iterator[str]:
    yield f"data:  {kept_folder(data)}"
    yield f"model: {other.tokenizer.name}"
    if TOKENIZER in differing:
        yield from tokens_difference(one, other, _rows(data, one.tokenizer))
    if SPECIALS in differing:
        yield from specials_difference(one, other)
    if TEMPLATE in differing:
        yield from template_difference(one, other)


def _rows(data: Dataset, tokenizer: TextTokenizer) -> Iterator[tuple[str, str]]:
    """Yield some rows of the first and the last row group as text."""
    files = RowGroupFiles(data)
    try:
        for number in dict.fromkeys((0, len(data.row_groups) - 1)):
            group, rows = data.row_groups[number], files.read(number)
            for index in range(min(_ROWS // 2, group.rows)):
                ids = rows.ids.row(index)[:_IDS].tolist()
                text = tokenizer.core.decode(ids, skip_special_tokens=False)
                yield f"row {index} of {group.file}, row group {group.index}", text
    finally:
        files.close()


def _other_versions(data: Dataset) -> str:
    return (
        f"{data.path} states other digests than its tokenizer has here, so it was made by other "
        "versions of tokenizers or Transformers, or its folder was changed (jllm.verify_data says "
        "which); the tokenizer that it keeps is the model's"
    )


def _joined(names: tuple[str, ...]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def stating(parts: tuple[Dataset, ...]) -> Dataset:
    """Return the first data set that states its tokenizer, else the first one."""
    return next(itertools.chain((p for p in parts if p.tokenizer_digest), parts))
