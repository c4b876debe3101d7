"""Check imports: only along the arrows between the packages, and only declared distributions."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator

from structure.tree import File

ARROWS = {
    "jllm": {"jllm-data", "jllm-models", "jllm-parallel"},
    "jllm-data": set(),
    "jllm-models": set(),
    "jllm-kernels": set(),
    "jllm-convert": {"jllm-models"},
    "jllm-infer": {"jllm-models"},
    "jllm-parallel": {"jllm-data", "jllm-models"},
    "jllm-rl": {"jllm-parallel", "jllm-infer"},
}
"""The packages that each package may depend on, as drawn in docs/architecture.md."""
MODULE_OF = {"pyyaml": "yaml"}
"""Distributions whose module has another name."""
LOOKED_FOR = {"jllm": {"torch"}}
"""Modules that a package uses if present but never requires: the doctor inspects torch."""


def declared(pyproject: str) -> set[str]:
    """Return the names of the distributions that a pyproject.toml requires, including extras."""
    project = tomllib.loads(pyproject)["project"]
    lines = [*project.get("dependencies", ())]
    for extra in project.get("optional-dependencies", {}).values():
        lines += extra
    names = [re.match(r"[\w.-]+", line) for line in lines]
    return {re.sub(r"[-_.]+", "-", name.group()).lower() for name in names if name}


def imported(file: File) -> Iterator[tuple[ast.AST, str]]:
    """Yield every absolute import of a module, including import_module("…"), with its full
    name."""
    for node in ast.walk(file.syntax):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom) and not node.level:
            module = node.module or ""
            for alias in node.names:
                yield node, f"{module}.{alias.name}" if module == "jllm" else module
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
            name = called.id if isinstance(called, ast.Name) else called
            if name in ("import_module", "__import__"):
                yield node, str(node.args[0].value)


def parts(files: list[File]) -> dict[str, str]:
    """Return which package holds jllm.X: {"data": "jllm-data", "raw2ids": "jllm-data", …}."""
    found = {}
    for file in files:
        if file.package and file.is_python:
            found[file.path.split("/")[4].removesuffix(".py")] = file.package
    return found


def check_imports(files: list[File]) -> list[str]:
    """Return findings: imports against the arrows, and imports of distributions that
    pyproject.toml does not declare."""
    owner, findings = parts(files), []
    asked = {
        file.path.split("/")[1]: declared(file.text)
        for file in files
        if re.fullmatch(r"packages/[\w-]+/pyproject\.toml", file.path)
    }
    for package, names in sorted(asked.items()):
        wrong = {name for name in names if name.startswith("jllm-")} - ARROWS[package]
        findings += [f"packages/{package}/pyproject.toml: may not depend on {n}" for n in wrong]
    for file in files:
        if not file.package or not file.is_python:
            continue
        modules = {MODULE_OF.get(name, name.replace("-", "_")) for name in asked[file.package]}
        modules |= LOOKED_FOR.get(file.package, set())
        for node, name in imported(file):
            top, _, rest = name.partition(".")
            if top == "jllm":
                other = owner.get(rest.partition(".")[0])
                if other not in {file.package} | (ARROWS[file.package] & asked[file.package]):
                    findings.append(file.at(node, f"{file.package} may not import {name}"))
            elif top not in sys.stdlib_module_names and top not in modules:
                findings.append(file.at(node, f"{top} is not in {file.package}'s pyproject.toml"))
    return findings
