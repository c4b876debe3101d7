"""ruff finds nothing to say about the tree, and pyrefly no wrong type in the packages."""

import subprocess
import sys
from pathlib import Path

import pytest

from structure.tree import ROOT, walk


def run(program: str, *args: str) -> None:
    """Runs a program that a distribution on sys.path brings along, from the tree's root."""
    found = [Path(folder, "bin", program) for folder in [*sys.path, sys.prefix]]
    command = [next(path for path in found if path.exists()), *args]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        pytest.fail(result.stdout + result.stderr, pytrace=False)


def python_files() -> list[str]:
    return [path for path in walk() if path.endswith(".py")]


def test_ruff_check():
    run("ruff", "check", "--no-cache", "--quiet", *python_files())


def test_ruff_format():
    run("ruff", "format", "--no-cache", "--check", *python_files())


def test_types():
    folders = [folder for folder in sys.path if folder.endswith("site-packages")]
    sites = [f"--site-package-path={folder}" for folder in folders]
    quiet = ["--skip-interpreter-query", "--output-format=min-text", "--summary=none"]
    run("pyrefly", "check", *quiet, *sites)
