"""Global shuffle of data sets larger than memory, in two passes over bounded buffers.

The first pass writes every row to a run, a file sorted by the keys of `keys.row_keys`. In the
second, every block gathers its range of keys from all runs and becomes a parquet file. Each process
holds a fixed amount of rows at a time. Disk: the runs (4 bytes an id and column), in a hidden
folder beside the output until all is done. Input and output are compared by `row_digest`.
"""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jllm.data.format.differences import differences
from jllm.data.format.file_names import TOKENIZER_FOLDER
from jllm.data.format.merge_info import SHUFFLED_TOGETHER, merge_infos, read_contents
from jllm.data.format.row_multiset import RowMultiset
from jllm.data.format.sealed_json import sealed
from jllm.data.reading.dataset import Dataset, info_files, open_dataset
from jllm.data.runtime.disk_space import check_room, naming_a_full_disk
from jllm.data.runtime.memory import MemoryPlan, plan_memory, resident_bytes
from jllm.data.runtime.progress import PhaseProgress
from jllm.data.runtime.worker_pool import map_in_order
from jllm.data.storage.paths import local_path
from jllm.data.tools.shuffle.config import ShuffleConfig
from jllm.data.tools.shuffle.full_rows import WholeFiles, read_whole_files
from jllm.data.tools.shuffle.gather import Block, BlockMaker
from jllm.data.tools.shuffle.keys import block_starts, split_blocks
from jllm.data.tools.shuffle.scatter import Run, Scatter, cut_spans
from jllm.data.writing.row_writer import rows_a_group
from jllm.data.writing.staging import publish, refuse_another_tokenizer, refuse_to_mix, stage, sync


@dataclass(frozen=True, kw_only=True)
class Shuffled:
    """The written data set."""

    rows: int
    files: int
    plan: MemoryPlan


def shuffle(config: ShuffleConfig, progress: PhaseProgress) -> Shuffled:
    """Shuffle `config.inputs` to `config.output_folder`; all files appear there at the end.

    Raises ValueError for what the user can mend (settings, data sets that do not belong together,
    damaged files, too little memory or disk) and OSError for a full disk and the like; then nothing
    appears under a final name.
    """
    output = config.output_folder
    datasets = [open_dataset(path) for path in config.inputs]
    _check_alike(datasets)
    contents = read_contents([path for data in datasets for path in info_files(data.path)])
    merge_infos(contents, [], 0)  # refuse what cannot be merged before any work
    rows = sum(data.num_rows for data in datasets)
    if not rows:
        raise ValueError(f"--datasets {config.datasets}: holds no rows")
    files = read_whole_files(datasets)
    refuse_to_mix(output, clean=config.clean)
    size = int(files.group_bytes.sum())
    check_room(output, size + 8 * rows + files.disk_bytes)
    plan = plan_memory(config.memory, config.processes, resident_bytes(), _memory_flag(config))
    with stage(output) as staged, naming_a_full_disk(output):
        refuse_to_mix(output, clean=config.clean)  # again: an interrupted run may have left files
        for data in datasets:
            kept = next(
                iter(sorted(local_path(data.path).rglob(f"{TOKENIZER_FOLDER}/tokenizer.json"))),
                None,
            )
            if kept is not None:
                shutil.copytree(kept.parent, staged / TOKENIZER_FOLDER)
                break
        refuse_another_tokenizer(output, staged, clean=config.clean)
        blocks = _Work(config, datasets, files, rows, plan, staged, progress).run()
        written = [block.file for block in blocks]
        info = merge_infos(contents, written, max(block.max_num_blocks for block in blocks))
        (staged / f"{config.name}_info.json").write_text(sealed(info), encoding="utf-8")
        publish(staged, output, clean=config.clean)
    return Shuffled(rows=rows, files=len(blocks), plan=plan)


@dataclass(frozen=True)
class _Work:
    """The two passes."""

    config: ShuffleConfig
    datasets: Sequence[Dataset]
    files: WholeFiles
    rows: int
    plan: MemoryPlan
    staged: Path
    progress: PhaseProgress

    def run(self) -> list[Block]:
        """Write all blocks to the folder. Raises ValueError if rows were lost or duplicated."""
        count = min(self.config.num_block, self.rows)
        size = int(self.files.group_bytes.sum()) + 8 * self.rows
        parts = max(1, math.ceil(1.25 * size / count / self.plan.buffer_bytes))
        bounds = split_blocks(block_starts(self.rows, self.config.seed, count), parts)
        scatter = Scatter(
            folder=self.staged,
            schema=self.files.schema,
            seed=self.config.seed,
            bounds=bounds,
            buffer_bytes=self.plan.buffer_bytes,
        )
        runs, before = self._scatter(scatter, size)
        make = BlockMaker(
            folder=self.staged,
            name=partial(_file_name, self.config.name, self.config.compress),
            schema=self.files.schema,
            runs=runs,
            bounds=bounds,
            buckets_a_block=parts,
            group_rows=rows_a_group(self.datasets[0].max_len),
            compression=self.config.compress,
            buffer_bytes=self.plan.buffer_bytes,
        )
        blocks, after = self._gather(make, count)
        for run in runs:
            run.path.unlink()
        if before != after:
            raise ValueError(
                f"--output {self.config.output}: {before.rows} rows were read and {after.rows} "
                "other ones are on the disk; nothing was published. Is the disk sound? Else "
                "report it"
            )
        return blocks

    def _scatter(self, scatter: Scatter, size: int) -> tuple[list[Run], RowMultiset]:
        groups = [group for data in self.datasets for group in data.row_groups]
        share = math.ceil(size / self.plan.processes)
        spans = cut_spans(groups, self.files.group_bytes, min(self.plan.buffer_bytes, share))
        runs, bag = list[Run](), RowMultiset()
        self.progress.begin("reading", self.rows, "rows")
        with contextlib.closing(map_in_order(scatter, spans, self.plan.processes)) as results:
            for _, scattered in results:
                runs += scattered.runs
                bag += scattered.bag
                self.progress.advance(scattered.bag.rows)
        return runs, bag

    def _gather(self, make: Callable[[int], Block], count: int) -> tuple[list[Block], RowMultiset]:
        blocks, bag = list[Block](), RowMultiset()
        self.progress.begin("writing", self.rows, "rows")
        results = map_in_order(make, range(count), min(count, self.plan.processes))
        with contextlib.closing(results), ThreadPoolExecutor(1, "jllm-sync") as disk:
            synced: Future[None] | None = None
            for _, block in results:
                if synced is not None:
                    synced.result()
                synced = disk.submit(sync, self.staged / block.file.name)
                blocks.append(block)
                bag += block.bag
                self.progress.advance(block.bag.rows)
            if synced is not None:
                synced.result()
        return blocks, bag


def _check_alike(datasets: Sequence[Dataset]) -> None:
    first, *others = datasets
    expected = {**first.made_with, "fields": first.fields}
    for data in others:
        if found := differences({**data.made_with, "fields": data.fields}, expected):
            raise ValueError(
                f"{data.path} and {first.path} differ in {found[0]}; {SHUFFLED_TOGETHER}"
            )


def _memory_flag(config: ShuffleConfig) -> str:
    return "--mem_rate" if config.mem_gb is None else "--mem_gb"


def _file_name(name: str, compression: str, block: int) -> str:
    return f"{name}-00000-{block:05d}.{compression}.parquet"
