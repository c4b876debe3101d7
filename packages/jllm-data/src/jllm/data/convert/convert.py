"""Convert raw text and chats to packed token ids: the whole conversion.

The input is cut into splits that depend on the file alone; several processes encode them; one
consumer takes the results in order, packs and writes. So the files are the same, byte for byte, for
any number of processes and for a resumed conversion. Memory: the tokenizer, a few splits a process,
one packing window.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jllm.data.convert.config import Raw2IdsConfig, check_prompts
from jllm.data.convert.convert_file import ConvertedFile, convert_source, converted_file_of
from jllm.data.convert.count_records import bad_record, no_records_error
from jllm.data.convert.encode_split import EncodedSplit, SplitEncoder
from jllm.data.convert.resume import ResumeState, load_resume_state, published_log
from jllm.data.convert.setup import conversion_key, prepare_work
from jllm.data.format.file_names import rename_widely
from jllm.data.format.info import info_text
from jllm.data.format.kinds import Kind
from jllm.data.format.schema import FileMetadata
from jllm.data.reading.dataset import open_dataset
from jllm.data.reading.prompt_ids import repeated_prompts
from jllm.data.records.input_files import Source, find_sources
from jllm.data.records.parse import chats_or_prompts, too_long
from jllm.data.records.splits import InputSplit, cut_splits
from jllm.data.runtime.disk_space import naming_a_full_disk
from jllm.data.runtime.worker_pool import map_in_order
from jllm.data.storage.paths import stamp
from jllm.data.storage.remote_path import Stamp
from jllm.data.tokenizer.bundle import keep_tokenizer
from jllm.data.tokenizer.cache import cached_tokenizer
from jllm.data.tokenizer.encoder import EncodersDiffer
from jllm.data.tokenizer.load import TextTokenizer
from jllm.data.writing.staging import (
    PLAN,
    PUBLISHED,
    empty_folder,
    publish,
    refuse_another_tokenizer,
    refuse_to_mix,
    stage,
)


class Reporter(Protocol):
    """Receiver of the progress of a conversion."""

    def begin(self, sources: Sequence[Source], taken: int) -> None:
        """Begin: the input files are known; `taken` of their bytes were converted before."""

    def advance(self, split: InputSplit, result: EncodedSplit) -> None:
        """Count a split that was packed."""

    def note(self, text: str) -> None:
        """Show a message to the user."""


def convert(config: Raw2IdsConfig, reporter: Reporter) -> list[ConvertedFile]:
    """Convert `config.input` into `config.output_folder`; all files appear there at the end.

    Resumes an interrupted conversion of the same input. Raises ValueError for what the user can
    mend (settings, tokenizer, template, records) and OSError for a full disk and the like; then
    nothing appears under a final name.
    """
    output = config.output_folder
    if config.tmp:
        reporter.note(f"--tmp {config.tmp}: nothing is written there, but to {output} alone")
    sources, passed_over = find_sources(
        Path(config.input),
        chats=config.kind != "pretrain",
        stdin_name=config.stdin_name,
        leave_out=output,
    )
    stamps = {source.path: stamp(source.path) for source in sources if source.size is not None}
    for path in passed_over:
        reporter.note(
            f"{path} is not converted (no text, JSON lines or table of records, hidden, or a link)"
        )
    with stage(output, resumable=True) as staged, naming_a_full_disk(output):
        published = (staged / PUBLISHED).exists()
        if not published:
            refuse_to_mix(output, clean=config.clean)
        splits, kind = _splits(config, sources), config.kind
        if kind == "ft":
            kind, splits = chats_or_prompts(splits)
        if kind == "rl":
            check_prompts(config)
        tokenizer = cached_tokenizer(config.tokenizer)
        job = _Job(
            config=config,
            sources=sources,
            stamps=stamps,
            kind=kind,
            tokenizer=tokenizer,
            reporter=reporter,
        )
        work, metadata = prepare_work(config, kind, tokenizer, reporter.note)
        key = conversion_key(config, metadata, sources, stamps)
        if published:
            done = published_log(staged, key)
            if done is not None:
                reporter.note(f"{output}: the conversion was complete but for renaming its files")
                return [
                    converted_file_of(source, done.finished[source.relative]) for source in sources
                ]
            empty_folder(staged)
            refuse_to_mix(output, clean=config.clean)
        log = load_resume_state(staged, key, reporter.note)
        keep_tokenizer(tokenizer, staged)
        refuse_another_tokenizer(output, staged, clean=config.clean)
        with _keeping_what_is_done(log, reporter):
            converted = job.run(splits, work, metadata, log)
            for one in converted:
                text = info_text(metadata, one.files, one.account, one.max_num_blocks)
                (staged / f"{one.source.name}_info.json").write_text(text, encoding="utf-8")
            if kind == "rl":
                _refuse_repeated(staged)
            publish(staged, output, clean=config.clean)
    return converted


def _refuse_repeated(staged: Path) -> None:
    """Raise ValueError if two prompts have the same number, which readers refuse."""
    if repeated := repeated_prompts(open_dataset(staged, lazy=True)):
        raise ValueError(repeated.replace(f"{staged}/", ""))


@contextlib.contextmanager
def _keeping_what_is_done(log: ResumeState, reporter: Reporter) -> Iterator[None]:
    """Keep the finished files for the next conversion after an error, and say so."""
    try:
        yield
    except BaseException:
        if (log.folder / PLAN).exists():
            reporter.note("the same command again finishes what is left: renaming the files")
        elif count := log.keep_finished():
            reporter.note(
                f"finished files kept in {log.folder}: {count:,}; the same command continues, any "
                "other begins anew"
            )
        raise


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One conversion: its input and its settings."""

    config: Raw2IdsConfig
    sources: Sequence[Source]
    stamps: Mapping[Path, Stamp]
    """Size and time stamps of the source files before the first byte was read."""
    kind: Kind
    tokenizer: TextTokenizer
    reporter: Reporter

    def run(
        self,
        splits: Iterator[InputSplit],
        work: SplitEncoder,
        metadata: FileMetadata,
        log: ResumeState,
    ) -> list[ConvertedFile]:
        """Convert all that is not in the log; `splits` are those of all sources."""
        if log.begun:
            splits = _splits(self.config, self.sources, log)
        try:
            converted = self._convert(splits, work, metadata, log)
        except EncodersDiffer:
            log.begin_anew()  # finished files may have wrong ids too, where no sample was taken
            raise
        self._refuse_what_changed(log)
        log.save()
        work.encoder.remember()
        return converted

    def _refuse_what_changed(self, log: ResumeState) -> None:
        """Raise ValueError for a file that changed between cutting its splits and reading them."""
        for path, before in self.stamps.items():
            if stamp(path) != before:
                log.begin_anew()
                raise ValueError(
                    f"{path}: was changed while it was converted, so rows of both its states may "
                    "be mixed; nothing was published. Convert again when it is complete"
                )

    def _convert(
        self,
        splits: Iterator[InputSplit],
        work: SplitEncoder,
        metadata: FileMetadata,
        log: ResumeState,
    ) -> list[ConvertedFile]:
        self.reporter.begin(self.sources, log.taken)
        known, left = self.sources[: len(log.finished)], self.sources[len(log.finished) :]
        done = [converted_file_of(source, log.finished[source.relative]) for source in known]
        config, advance = self.config, self.reporter.advance
        pairs = map_in_order(work, splits, config.processes, threads=config.thread)
        with contextlib.closing(pairs) as results:
            by_file = itertools.groupby(results, key=lambda pair: pair[0].path)
            group = next(by_file, None)
            for source in left:
                mine: Iterator[tuple[InputSplit, EncodedSplit]] = iter(())
                if group is not None and group[0] == source.path:
                    mine = group[1]
                done.append(convert_source(config, source, mine, metadata, log, advance))
                if group is not None and group[0] == source.path:
                    group = next(by_file, None)
        if not any(one.rows for one in done):
            raise no_records_error(config.input, [one.account for one in done])
        for tree in log.finished.values():
            rename_widely(log.folder, tree["files"])
        return [converted_file_of(source, log.finished[source.relative]) for source in self.sources]


def _splits(
    config: Raw2IdsConfig, sources: Sequence[Source], log: ResumeState | None = None
) -> Iterator[InputSplit]:
    """Yield the splits of all files that are not in the log."""
    skip = 0
    if log is not None:
        sources = sources[len(log.finished) :]
        skip = log.open["splits"] if log.open is not None else 0
    splits = itertools.chain.from_iterable(_splits_of(config, source) for source in sources)
    return itertools.islice(splits, skip, None)


def _splits_of(config: Raw2IdsConfig, source: Source) -> Iterator[InputSplit]:
    """Yield the splits of a file. Stops reading at a too long record that stops the conversion."""
    limit = config.max_record_bytes
    for split in cut_splits(source, max_lines=config.chunk_size, max_record_bytes=limit):
        if split.too_long and config.on_error == "stop":
            raise bad_record(source.path, too_long(split.first_line, limit))
        yield split
