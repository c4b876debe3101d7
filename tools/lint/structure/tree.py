"""The files of this tree, and the text file type that the rules use.

Works in a checkout and in a Bazel test's runfiles, where every file is a link.
"""

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

ROOT = Path(os.path.abspath(__file__)).parents[3]
"""Not resolved: in runfiles, the tree is where the link lies, not where its target lies."""
FOLDERS = ("packages", "integration_tests", "tools", "third_party", "docs", ".ci")
SKIPPED = frozenset({"__pycache__", ".hypothesis", ".pytest_cache", ".ruff_cache"})
BINARY = frozenset({".png", ".gz", ".parquet", ".safetensors", ".gguf", ".pyc"})


@dataclass(frozen=True, kw_only=True)
class File:
    """A text file: its path from the root of the tree, with slashes, and its text."""

    path: str
    text: str

    @property
    def is_python(self) -> bool:
        """Whether it is a Python module."""
        return self.path.endswith(".py")

    @property
    def package(self) -> str | None:
        """jllm-data for packages/jllm-data/src/…; None for a file that no wheel holds."""
        parts = PurePosixPath(self.path).parts
        return parts[1] if len(parts) > 3 and parts[0] == "packages" and parts[2] == "src" else None

    @cached_property
    def syntax(self) -> ast.Module:
        """The module's syntax tree."""
        return ast.parse(self.text, self.path)

    def at(self, node: ast.AST, what: str) -> str:
        """Return a finding: path:line: what."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {what}"


def walk() -> Iterator[str]:
    """Yield the paths of all files of the tree, from its root, sorted.

    Leaves out Bazel's test launchers.
    """
    paths = [path.name for path in ROOT.iterdir() if path.is_file()]
    for folder in FOLDERS:
        for parent, folders, names in os.walk(ROOT / folder):
            folders[:] = [f for f in folders if f not in SKIPPED and not f.endswith(".egg-info")]
            paths += [Path(parent, name).relative_to(ROOT).as_posix() for name in names]
    yield from sorted(path for path in paths if not re.search(r"/(test_\w+|\w+_tests)$", path))


def read_files() -> list[File]:
    """Return all text files of the tree."""
    return [
        File(path=path, text=(ROOT / path).read_text(encoding="utf-8"))
        for path in walk()
        if PurePosixPath(path).suffix not in BINARY
    ]
