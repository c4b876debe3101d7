"""Settings of `jllm.repartition`, and the checks that need no data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class RepartitionConfig:
    """Distribute the files of a data set over parts, each a data set of its own."""

    dataset: Annotated[str, tyro.conf.arg(aliases=["-d"])]
    """Folder of parquet files with their info files, at any depth."""
    num_partition: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 16
    """Number of parts; every n-th file goes to the same part. Best a divisor of the number of
    files."""
    output: Annotated[str, tyro.conf.arg(aliases=["-o"])] = ""
    """Folder for the parts; empty: the data set's own folder, within which the files are moved."""
    move: bool = False
    """Move the files out of the data set. The default without --output."""
    link: bool = False
    """Make hard links: no copies, and the data set stays unchanged. The default with --output."""
    undo: bool = False
    """Move everything back (or remove the links), whatever state the repartition is in."""

    @property
    def source(self) -> Path:
        """The folder of the data set."""
        return Path(self.dataset)

    @property
    def target(self) -> Path:
        """The folder of the parts."""
        return Path(self.output) if self.output else self.source

    @property
    def links(self) -> bool:
        """Whether files are linked; otherwise they are moved."""
        return self.link or (bool(self.output) and not self.move)


def check_repartition_config(config: RepartitionConfig) -> None:
    """Raise ValueError for an invalid setting, or an invalid combination."""
    if config.num_partition < 1:
        raise ValueError(f"--num_partition {config.num_partition}: expected at least 1")
    if config.move and config.link:
        raise ValueError("--move and --link: expected one of them at most")
    if not config.source.is_dir():
        raise ValueError(f"--dataset {config.dataset}: not a folder")
    inside = config.target.resolve().is_relative_to(config.source.resolve())
    if config.links and inside:
        raise ValueError(
            f"--link to {config.target}, in the data set itself: each row would be there twice; "
            "give an --output elsewhere, or --move"
        )
    if config.output and inside:
        raise ValueError(f"--output {config.output} is in the data set; leave --output out")
