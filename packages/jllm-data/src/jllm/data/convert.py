"""Raw text and chats → packed token ids: the whole conversion.

The input is cut into units by the file alone, several processes encode them, and one consumer takes
the results in order, packs and writes. So the files are the same, byte for byte, for every number
of processes. Memory: the tokenizer, a few units a process, one packing window.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jllm.data.account import Account, bad_record
from jllm.data.chat_documents import ChatEncoder
from jllm.data.chat_template import ChatTemplate
from jllm.data.disk import naming_a_full_disk
from jllm.data.encoder import EncodersDiffer, make_encoder
from jllm.data.file_output import FileOutput, OutputSettings
from jllm.data.info import info_text
from jllm.data.input_kind import chats_or_prompts
from jllm.data.prompt_documents import PromptEncoder
from jllm.data.raw2ids_config import Raw2IdsConfig, check_prompts
from jllm.data.records import too_long
from jllm.data.row_block import DocumentBatch
from jllm.data.schema import FileMetadata, Kind
from jllm.data.sources import Source, find_sources
from jllm.data.staging import publish, refuse_another_tokenizer, refuse_to_mix, stage
from jllm.data.tokenizer import TextTokenizer, chat_template_digest, load_tokenizer
from jllm.data.tokenizer_files import keep_tokenizer
from jllm.data.unit_work import UnitResult, UnitWork
from jllm.data.units import Unit, cut_units
from jllm.data.worker_pool import map_in_order


class Reporter(Protocol):
    """What is told to a person while a conversion runs."""

    def begin(self, sources: Sequence[Source]) -> None:
        """The input files are known."""

    def advance(self, unit: Unit, result: UnitResult) -> None:
        """A unit was packed."""

    def note(self, text: str) -> None:
        """Something that a person should know."""


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What became of one input file."""

    source: Source
    account: Account
    rows: int
    row_ids: int
    max_len: int
    files: tuple[str, ...]

    @property
    def fill(self) -> float:
        """Ids in the rows ÷ ids that would fit, 0 … 1."""
        return self.row_ids / (self.rows * self.max_len) if self.rows else 0.0


def convert(config: Raw2IdsConfig, reporter: Reporter) -> list[Converted]:
    """Convert `config.input` into `config.output_folder`; all files appear there at the end.

    Raises ValueError for what a person can mend (settings, tokenizer, template, records) and
    OSError for a full disk and the like; then nothing appears under a final name.
    """
    output = config.output_folder
    sources, passed_over = find_sources(
        Path(config.input),
        chats=config.kind != "pretrain",
        stdin_name=config.stdin_name,
        leave_out=output,
    )
    for path in passed_over:
        reporter.note(f"{path} is not converted (no text or JSON lines, hidden, or a link)")
    infos = [f"{source.name}_info.json" for source in sources]
    refuse_to_mix(output, infos, clean=config.clean)
    tokenizer = load_tokenizer(config.tokenizer)
    with stage(output) as staged, naming_a_full_disk(output):
        keep_tokenizer(tokenizer, staged)
        refuse_another_tokenizer(output, staged, clean=config.clean)
        try:
            converted = _attempt(config, tokenizer, sources, staged, reporter, allow_fast=True)
        except EncodersDiffer as difference:
            if config.input == "-":
                raise ValueError(f"{difference}; give --fast off, and please report it") from None
            reporter.note(f"{difference}: converting again with tokenizers alone; please report it")
            for path in staged.glob("*.parquet"):
                path.unlink()
            converted = _attempt(config, tokenizer, sources, staged, reporter, allow_fast=False)
        publish(staged, output)
    return converted


def _attempt(
    config: Raw2IdsConfig,
    tokenizer: TextTokenizer,
    sources: Sequence[Source],
    staged: Path,
    reporter: Reporter,
    *,
    allow_fast: bool,
) -> list[Converted]:
    kind = config.kind
    units = itertools.chain.from_iterable(_units(config, source) for source in sources)
    if kind == "ft":
        kind, units = chats_or_prompts(units)
    if kind == "rl":
        check_prompts(config)
    work, metadata = _prepare(config, kind, tokenizer, reporter, allow_fast=allow_fast)
    reporter.begin(sources)
    converted = []
    with contextlib.closing(map_in_order(work, units, config.processes)) as results:
        by_file = itertools.groupby(results, key=lambda pair: pair[0].path)
        group = next(by_file, None)
        for source in sources:
            mine: Iterator[tuple[Unit, UnitResult]] = iter(())
            if group is not None and group[0] == source.path:
                mine = group[1]
            converted.append(_convert_file(config, source, mine, metadata, staged, reporter))
            if group is not None and group[0] == source.path:
                group = next(by_file, None)
    if not any(one.rows for one in converted):
        raise ValueError(
            f"--input {config.input}: no record is left to write; see what was dropped"
        )
    return converted


def _units(config: Raw2IdsConfig, source: Source) -> Iterator[Unit]:
    """The units of a file. A record that is too long and stops the conversion is not read on."""
    limit = config.max_record_bytes
    for unit in cut_units(source, max_lines=config.chunk_size, max_record_bytes=limit):
        if unit.too_long and config.on_error == "stop":
            raise bad_record(source.path, too_long(unit.first_line, limit))
        yield unit


def _convert_file(
    config: Raw2IdsConfig,
    source: Source,
    results: Iterator[tuple[Unit, UnitResult]],
    metadata: FileMetadata,
    staged: Path,
    reporter: Reporter,
) -> Converted:
    account = Account()
    output = FileOutput(
        folder=staged,
        name=source.name,
        source=source.relative,
        metadata=metadata,
        settings=OutputSettings(
            stack=config.stack,
            pad=config.pad,
            file_rows=config.batch_size,
            partition_records=config.num_lines_per_partition,
            compression=config.compress,
        ),
    )
    try:
        for unit, result in results:
            before = account.read
            account.add(source, result, stop=config.on_error == "stop")
            output.add(_numbered(unit, result, before), result.record, result.read)
            reporter.advance(unit, result)
        if not account.read and config.on_error == "stop":
            raise ValueError(f"{source.path}: the file is empty; expected at least one record")
        output.finish()
    finally:
        output.abandon()
    text = info_text(metadata, output.files, account, output.max_num_blocks)
    (staged / f"{source.name}_info.json").write_text(text, encoding="utf-8")
    return Converted(
        source=source,
        account=account,
        rows=output.rows,
        row_ids=output.row_ids,
        max_len=metadata.max_len,
        files=tuple(file.name for file in output.files),
    )


def _numbered(unit: Unit, result: UnitResult, before: int) -> DocumentBatch:
    """The documents by what a person finds them by: lines, or, in text, the how manieth record.

    `before`: records of the file before this unit.
    """
    if unit.layout == "lines":
        return result.documents
    return dataclasses.replace(result.documents, records=before + 1 + result.record)


def _prepare(
    config: Raw2IdsConfig,
    kind: Kind,
    tokenizer: TextTokenizer,
    reporter: Reporter,
    *,
    allow_fast: bool,
) -> tuple[UnitWork, FileMetadata]:
    wanted = allow_fast and config.fast == "auto"
    encoder, why_slow = make_encoder(tokenizer, allow_fast=wanted)
    if wanted and why_slow:
        reporter.note(f"tokenizers does all the work, more slowly: {why_slow}")
    chats: ChatEncoder | PromptEncoder | None = None
    template_digest = ""
    if kind != "pretrain":
        variables = _template_variables(config.template_kwargs)
        template = ChatTemplate(tokenizer=tokenizer, variables=variables)
        template_digest = chat_template_digest(template.source, variables)
        chats = (
            PromptEncoder(template=template, encoder=encoder, max_len=config.max_len)
            if kind == "rl"
            else ChatEncoder(
                template=template,
                encoder=encoder,
                max_len=config.max_len,
                drop_untrained=config.filter,
            )
        )
        chats.probe()
    elif tokenizer.document_end_id is None:
        raise ValueError(
            f"--tokenizer {tokenizer.name} has no end-of-sequence token, so the end of a document "
            "cannot be written; set eos_token in tokenizer_config.json"
        )
    work = UnitWork(
        kind=kind,
        max_len=config.max_len,
        stack=config.stack,
        drop_untrained=config.filter,
        max_record_bytes=config.max_record_bytes,
        encoder=encoder,
        chats=chats,
    )
    metadata = FileMetadata(
        kind=kind,
        max_len=config.max_len,
        tokenizer_digest=tokenizer.digest,
        chat_template_digest=template_digest,
        special_tokens_digest=tokenizer.specials_digest,
        document_end_id=tokenizer.document_end_id,
    )
    return work, metadata


def _template_variables(text: str) -> dict[str, object]:
    try:
        variables = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--template_kwargs {text}: {error}; expected a JSON object") from error
    if not isinstance(variables, dict):
        raise ValueError(f'--template_kwargs {text}: expected a JSON object, {{"name": value}}')
    return variables
