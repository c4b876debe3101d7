"""Files and folders on any file system that Spark can reach, seen from the driver."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from pyspark.sql import SparkSession


class HadoopPath:
    """A path on any file system that Spark can reach."""

    def __init__(self, spark: SparkSession, path: str) -> None:
        self._jvm: Any = spark._jvm  # pyspark has no public access to Hadoop's file systems
        self._hadoop = self._jvm.org.apache.hadoop.fs
        plain = self._hadoop.Path(path)
        self._system = plain.getFileSystem(spark._jsc.hadoopConfiguration())  # type: ignore
        self._path = self._system.makeQualified(plain)

    @property
    def name(self) -> str:
        """The last component of the path."""
        return self._path.getName()

    @property
    def qualified(self) -> str:
        """The path with its scheme, quoted, as Spark names files."""
        return self._path.toUri().toString()

    @property
    def plain(self) -> str:
        """The path with its scheme, unquoted: accepted by `HadoopPath` and by Spark's writers."""
        return self._path.toString()

    @property
    def literal(self) -> str:
        """`plain`, escaped for Spark's readers, which treat some characters as patterns."""
        return re.sub(r"([\[\]{}*?\\])", r"\\\1", self.plain)

    def lies_in(self, other: HadoopPath) -> bool:
        """Return whether this is the other path, or inside it."""
        return PurePosixPath(self.qualified).is_relative_to(other.qualified)

    def exists(self) -> bool:
        """Return whether the file or folder exists."""
        return self._system.exists(self._path)

    def is_folder(self) -> bool:
        """Return whether this is a folder."""
        return self._system.getFileStatus(self._path).isDirectory()

    def names(self) -> list[str]:
        """Return the names of this folder's entries."""
        return sorted(str(one.getPath().getName()) for one in self._system.listStatus(self._path))

    def remove(self) -> None:
        """Delete this file or folder, recursively, if it exists."""
        self._system.delete(self._path, True)

    def rename(self, target: HadoopPath) -> None:
        """Move this to the target, replacing it."""
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
