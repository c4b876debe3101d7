"""Check that a data set is unchanged since it was written: every byte, row and sum.

First the info files (seal, record counts), then footers and info files against each other, then all
files: each file's bytes against its digest, and each row group's rows against its digest and the
rules of `check_rows`. Several processes work, each holding one row group.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from jllm.data.format.file_names import REPARTITION_PLAN
from jllm.data.format.info import FileInfo, Info, read_info
from jllm.data.reading.dataset import open_dataset
from jllm.data.reading.footer import Footer, read_footer
from jllm.data.reading.prompt_ids import repeated_numbers
from jllm.data.runtime.memory import process_count
from jllm.data.runtime.progress import PhaseProgress
from jllm.data.runtime.worker_pool import map_in_order
from jllm.data.storage.paths import data_files, local_path
from jllm.data.tools.verify.check_info import check_content, check_seal, check_sums
from jllm.data.tools.verify.check_rows import RowRules
from jllm.data.tools.verify.check_tokenizer import check_tokenizers
from jllm.data.tools.verify.config import VerifyConfig
from jllm.data.tools.verify.tasks import BytesUnit, Checked, CheckUnit, GroupsUnit

TASK_BYTES = 64 << 20
_THREADS = 16
Readable = TypeVar("Readable")


@dataclass(kw_only=True)
class VerifyReport:
    """The findings: the first ones in file order, and their total number."""

    most: int
    """The most findings to keep."""
    findings: list[str]
    total: int = 0
    rows: int = 0
    files: int = 0

    def add(self, findings: Sequence[str]) -> None:
        """Count findings and keep the first."""
        self.total += len(findings)
        self.findings += findings[: max(0, self.most - len(self.findings))]


def verify(config: VerifyConfig, progress: PhaseProgress) -> VerifyReport:
    """Check `config.path` and return the findings. Raises ValueError if there is nothing to
    check.
    """
    report = VerifyReport(most=config.max_findings, findings=[])
    found = data_files(config.path)
    paths, info_paths = ([local_path(path) for path in some] for some in found)
    if not paths and not info_paths:
        raise ValueError(f"{config.folder}: holds neither *.parquet nor *info.json files")
    infos = list(_readable(read_info, info_paths, report))
    footers = list(_readable(read_footer, paths, report))
    for info in infos:
        report.add(list(check_content(info)))
    listed = {local_path(path): file for info in infos for path, file in info.listed.items()}
    report.add(list(_check_listed(listed, infos, paths)))
    plan = config.path / REPARTITION_PLAN
    if plan.exists():
        report.add(list(check_seal(plan)))
    if not report.total:
        report.add(list(_raised_by_opening(config.path)))
    found, vocabulary = check_tokenizers(config.path, footers)
    report.add(found)
    rules = _rules(config, infos, footers, vocabulary)
    units = list(_units(footers, listed))
    work = CheckUnit(rules=rules)
    checked = defaultdict[Path, list[Checked]](list)
    progress.begin("checking", sum(unit.bytes for unit in units), "bytes")
    with contextlib.closing(map_in_order(work, units, process_count(config.cores))) as results:
        for unit, result in results:
            report.add(result.findings)
            checked[unit.path].append(result)
            progress.advance(unit.bytes)
    if rules.kind == "rl":
        report.add(list(_check_numbers(checked)))
    elif not report.total:
        for info in infos:
            mine = [one for path in info.listed for one in checked[local_path(path)]]
            report.add(list(check_sums(info, mine)) if info.files is not None else [])
    report.rows, report.files = sum(footer.num_rows for footer in footers), len(footers)
    return report


def _readable(
    read: Callable[[Path], Readable], paths: Sequence[Path], report: VerifyReport
) -> Iterator[Readable]:
    """Yield what `read` returns for each path; an error becomes a finding."""

    def attempt(path: Path) -> tuple[Readable | None, str]:
        try:
            return read(path), ""
        except (ValueError, OSError) as error:
            return None, str(error)

    with ThreadPoolExecutor(_THREADS) as pool:
        for value, error in pool.map(attempt, paths):
            if value is not None:
                yield value
            else:
                report.add([error])


def _check_listed(
    listed: Mapping[Path, FileInfo], infos: Sequence[Info], paths: Sequence[Path]
) -> Iterator[str]:
    """Yield files that are missing, listed twice, or not listed."""
    seen: dict[Path, Info] = {}
    for info in infos:
        for file in info.files or ():
            path = local_path(info.path.parent / file.name)
            if path in seen:
                yield f"{info.path}: lists {path.name}, as {seen[path].path} does"
            seen[path] = info
            if not path.is_file():
                yield f"{path}: missing, but listed in {info.path}"
    if listed:
        for path in paths:
            if path not in listed:
                yield f"{path}: no info file lists it"


def _raised_by_opening(path: Path) -> Iterator[str]:
    """Yield the errors of readers: files that differ in kind or columns, sums that do not agree."""
    try:
        open_dataset(path)
    except ValueError as error:
        yield str(error)


def _check_numbers(checked: Mapping[Path, Sequence[Checked]]) -> Iterator[str]:
    """Yield prompts with the same number, among files whose row groups were all readable."""
    numbers, names = list[np.ndarray](), list[str]()
    for path, results in checked.items():
        found = [one for result in results for one in result.numbers]
        if not any(result.findings for result in results):
            numbers += found
            names += [f"{path}, row group {index}" for index in range(len(found))]
    if repeated := repeated_numbers(numbers, names):
        yield repeated


def _rules(
    config: VerifyConfig, infos: Sequence[Info], footers: Sequence[Footer], vocabulary: int | None
) -> RowRules:
    metadata = footers[0].metadata if footers else None
    lengths = [info.max_len for info in infos] + ([metadata.max_len] if metadata else [])
    return RowRules(
        kind=footers[0].kind if footers else "pretrain",
        max_len=max(lengths, default=1 << 31),
        document_end_id=metadata.document_end_id if metadata else None,
        vocabulary=vocabulary,
        stacked=config.stacked,
    )


def _units(
    footers: Sequence[Footer], listed: Mapping[Path, FileInfo]
) -> Iterator[GroupsUnit | BytesUnit]:
    for footer in footers:
        path, groups = local_path(footer.path), len(footer.group_rows)
        size, file = path.stat().st_size, listed.get(path)
        if file is not None and (file.digest is not None or file.bytes is not None):
            yield BytesUnit(path=path, listed=file, bytes=size)
        digests = tuple(group.digest for group in file.row_groups) if file else None
        if digests is not None and len(digests) != groups:
            digests = None  # already a finding of the file
        parts = max(1, min(groups, size // TASK_BYTES))
        edges = [groups * part // parts for part in range(parts + 1)]
        for start, stop in zip(edges, edges[1:], strict=False):
            yield GroupsUnit(
                path=path,
                start=start,
                stop=stop,
                digests=digests[start:stop] if digests is not None else None,
                bytes=size // parts,
            )
