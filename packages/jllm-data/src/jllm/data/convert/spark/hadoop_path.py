"""Files and folders wherever Spark's own file systems reach, as the driver looks at them."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from pyspark.sql import SparkSession


class HadoopPath:
    """A path wherever Spark's own file systems reach."""

    def __init__(self, spark: SparkSession, path: str) -> None:
        self._jvm: Any = spark._jvm  # pyspark has no public way to Hadoop's file systems
        self._hadoop = self._jvm.org.apache.hadoop.fs
        plain = self._hadoop.Path(path)
        self._system = plain.getFileSystem(spark._jsc.hadoopConfiguration())  # type: ignore
        self._path = self._system.makeQualified(plain)

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return self._path.getName()

    @property
    def qualified(self) -> str:
        """With its scheme, quoted, as Spark names files."""
        return self._path.toUri().toString()

    @property
    def plain(self) -> str:
        """With its scheme and not quoted: what gives this path again, and Spark's writers take."""
        return self._path.toString()

    @property
    def literal(self) -> str:
        """`plain` for Spark's readers, who take some characters for patterns."""
        return re.sub(r"([\[\]{}*?\\])", r"\\\1", self.plain)

    def lies_in(self, other: HadoopPath) -> bool:
        """Return whether it is the other path or below it."""
        return PurePosixPath(self.qualified).is_relative_to(other.qualified)

    def exists(self) -> bool:
        """Return whether there is such a file or folder."""
        return self._system.exists(self._path)

    def is_folder(self) -> bool:
        """Return whether it is a folder."""
        return self._system.getFileStatus(self._path).isDirectory()

    def names(self) -> list[str]:
        """Return what this folder holds."""
        return sorted(str(one.getPath().getName()) for one in self._system.listStatus(self._path))

    def remove(self) -> None:
        """Delete it and all in it, if it exists."""
        self._system.delete(self._path, True)

    def rename(self, target: HadoopPath) -> None:
        """Take the place of the target, which is removed."""
        target.remove()
        if not self._system.rename(self._path, target._path):
            raise OSError(
                f"{self.qualified}: is complete, but cannot be renamed to {target.qualified}: "
                "rename it yourself"
            )

    def put(self, local: Path) -> None:
        """Copy a local file or folder into this folder."""
        here = self._hadoop.Path(local.resolve().as_uri())
        self._system.copyFromLocalFile(False, True, here, self._path)
