"""Check where files lie and how long they are."""

import statistics
from collections import defaultdict
from pathlib import PurePosixPath

from structure.tree import File

MAX_LINES = 300
MAX_MEDIAN = 170
PARTS = {"jllm": "cli"}
"""Packages whose part (the folder that states the version) has another name than they have."""
MEASURED = (".py", ".bzl", ".sh")


def lines(file: File) -> int:
    """Return the number of lines."""
    return len(file.text.splitlines())


def check_length(files: list[File]) -> list[str]:
    """Return findings: files longer than MAX_LINES, and packages whose median is above
    MAX_MEDIAN."""
    findings, lengths = [], defaultdict(list)
    for file in files:
        if file.path.endswith(MEASURED) and lines(file) > MAX_LINES:
            findings.append(f"{file.path}: {lines(file)} lines, at most {MAX_LINES}")
        if file.package and file.is_python:
            lengths[file.package].append(lines(file))
    for package, numbers in lengths.items():
        if (median := statistics.median(numbers)) > MAX_MEDIAN:
            findings.append(f"{package}: median length {median}, at most {MAX_MEDIAN}")
    return findings


def check_namespace(files: list[File]) -> list[str]:
    """Return findings: jllm/__init__.py, and packages without a part that states its version."""
    paths, findings = {file.path: file for file in files}, []
    findings += [
        f"{path}: jllm is a namespace package (PEP 420)"
        for path in paths
        if path.endswith("jllm/__init__.py")
    ]
    packages = {path.split("/")[1] for path in paths if path.count("/") > 1 and "packages/" in path}
    for package in sorted(packages):
        name = PARTS.get(package, package.removeprefix("jllm-"))
        part = f"packages/{package}/src/jllm/{name}/__init__.py"
        if part not in paths or "__version__ = " not in paths[part].text:
            findings.append(f"{part}: must exist and set __version__")
    return findings


def check_names(files: list[File]) -> list[str]:
    """Return findings: utils.py, and test or helper files with one name (imported bare)."""
    findings, seen = [], {}
    for file in files:
        name = PurePosixPath(file.path).name
        if name == "utils.py":
            findings.append(f"{file.path}: say what it does in its name")
        if name.endswith("_helpers.py") or (name.startswith("test_") and file.is_python):
            if name in seen:
                findings.append(f"{file.path}: {seen[name]} has the same name")
            seen[name] = file.path
    return findings
