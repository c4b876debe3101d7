"""Settings of `jllm.shuffle_datasets`, and the checks that need no data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jllm.data.format.file_names import check_output_name
from jllm.data.format.kinds import Compression
from jllm.data.runtime.memory import available_bytes, process_count
from jllm.data.storage.remote_path import is_remote


@dataclass(frozen=True, kw_only=True)
class ShuffleConfig:
    """Shuffle the rows of data sets globally, in bounded memory."""

    datasets: Annotated[str, tyro.conf.arg(aliases=["-d"])]
    """Folders of parquet files with their info files, separated by commas; a folder of data sets
    counts as one. All rows are shuffled together."""
    output: Annotated[str, tyro.conf.arg(aliases=["-o"])]
    """Folder to write to."""
    num_block: Annotated[int, tyro.conf.arg(aliases=["-n", "--num_partition"])] = 210
    """Number of parquet files to write, with equal numbers of rows (or one more); best a multiple
    of the later jllm.repartition -n. At most one a row. (--num_partition: the old name.)"""
    seed: int = 1234
    """Seed of the order. The files depend only on the data, the number of blocks, the seed and the
    compression."""
    cores: int = -1
    """Processes; -1: 80 % of the CPUs; fewer if there is not enough memory. The result does not
    depend on it."""
    mem_gb: float | None = None
    """GiB of memory that all processes together may use. The result does not depend on it."""
    mem_rate: float = 0.8
    """Without --mem_gb: the share of the free memory to use."""
    compress: Annotated[Compression, tyro.conf.arg(aliases=["-c"])] = "zstd"
    """Compression of the parquet files."""
    clean: Annotated[bool, tyro.conf.arg(aliases=["-C"])] = False
    """Replace what jllm wrote to the output folder before; other files are never touched."""

    @property
    def inputs(self) -> list[Path]:
        """The folders to shuffle; a name may hold commas only if it is the only one."""
        if Path(self.datasets).is_dir():
            return [Path(self.datasets)]
        return [Path(name) for name in self.datasets.split(",") if name]

    @property
    def output_folder(self) -> Path:
        """The folder that the files are written to."""
        return Path(self.output)

    @property
    def name(self) -> str:
        """The prefix of the file names: the data set's name; for several, the output folder's."""
        folder = self.inputs[0] if len(self.inputs) == 1 else self.output_folder
        return Path(os.path.abspath(folder)).name

    @property
    def processes(self) -> int:
        """The most processes to use."""
        return process_count(self.cores)

    @property
    def memory(self) -> int:
        """The most bytes of memory to use."""
        if self.mem_gb is not None:
            return int(self.mem_gb * 2**30)
        return int(self.mem_rate * available_bytes())


def check_shuffle_config(config: ShuffleConfig) -> None:
    """Raise ValueError for an invalid setting, or an invalid combination."""
    if not config.inputs:
        raise ValueError("--datasets: expected a folder, or several divided by commas")
    if is_remote(config.datasets):
        raise ValueError(f"--datasets {config.datasets}: only local folders; copy them here first")
    if not config.output:
        raise ValueError("--output: expected a folder")
    flag = f"--datasets {config.datasets}"
    check_output_name(config.name, flag if len(config.inputs) == 1 else f"--output {config.output}")
    if config.num_block < 1:
        raise ValueError(f"--num_block {config.num_block}: expected at least 1")
    if config.cores < 1 and config.cores != -1:
        raise ValueError(f"--cores {config.cores}: expected at least 1, or -1 for 80 % of the CPUs")
    if not 0 < config.mem_rate <= 1:
        raise ValueError(f"--mem_rate {config.mem_rate}: expected more than 0 and at most 1")
    if config.mem_gb is not None and config.mem_gb <= 0:
        raise ValueError(f"--mem_gb {config.mem_gb}: expected more than 0")
    folders = [folder.resolve() for folder in config.inputs]
    for place, folder in enumerate(folders):
        out = config.output_folder.resolve()
        if out.is_relative_to(folder):
            raise ValueError(
                f"--output {config.output} is in {folder}, which is to be shuffled; give a folder "
                "elsewhere"
            )
        for other in folders[:place]:
            if folder.is_relative_to(other) or other.is_relative_to(folder):
                raise ValueError(f"--datasets: {folder} is given twice (also as {other})")
