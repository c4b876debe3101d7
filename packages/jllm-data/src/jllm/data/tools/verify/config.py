"""Settings of `jllm.verify_data`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """Check every byte and every row of a data set."""

    folder: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Folder of parquet files with their info files, at any depth."""
    stacked: bool = False
    """Every row must have exactly max_len ids, as raw2ids --stack writes them."""
    cores: int = -1
    """Processes; -1: 80 % of the CPUs. Each holds one row group."""
    max_findings: int = 100
    """Number of findings printed; all are counted."""

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.folder)


def check_verify_config(config: VerifyConfig) -> None:
    """Raise ValueError for invalid settings."""
    if not config.path.is_dir():
        raise ValueError(f"{config.folder}: not a folder; expected one of parquet files")
    if config.cores < 1 and config.cores != -1:
        raise ValueError(f"--cores {config.cores}: expected at least 1, or -1 for 80 % of the CPUs")
    if config.max_findings < 1:
        raise ValueError(f"--max_findings {config.max_findings}: expected at least 1")
