"""Refuse code that names devices, uses pickle or print, or hides errors."""

import ast
import re
from collections.abc import Iterator, Sequence

from structure.imports import imported
from structure.tree import File

DEVICES = frozenset({"cuda", "npu", "nccl", "hccl", "gloo", "torch_npu"})
DEVICE_ATTRIBUTES = frozenset({"cuda", "npu", "is_cuda", "is_npu"})
DEVICE_MODULES = {
    "packages/jllm-parallel/src/jllm/parallel/distributed/device.py": "the module that knows them",
    "packages/jllm-parallel/src/jllm/parallel/config/flags/device.py": "the values of --device",
}
PICKLES = frozenset({"pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"})
SWITCHES = frozenset({"trust_remote_code", "allow_pickle"})


def docstrings(file: File) -> set[int]:
    """Return the ids of the constants that are statements of their own."""
    return {
        id(node.value)
        for node in ast.walk(file.syntax)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def is_device(text: str) -> bool:
    """Return whether a string holds only names of devices or back ends: cuda, cuda:0,
    cpu:gloo."""
    return bool(DEVICES & set(re.split(r"[:,]", text.lower())))


def check_devices(files: list[File]) -> list[str]:
    """Return findings: names of devices and back ends in a package, outside the device module."""
    findings = []
    for file in files:
        if not file.package or not file.is_python or file.path in DEVICE_MODULES:
            continue
        told = docstrings(file)
        for node in ast.walk(file.syntax):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if id(node) not in told and is_device(node.value):
                    findings.append(file.at(node, f"{node.value!r}: only device.py names devices"))
            elif isinstance(node, ast.Attribute) and node.attr in DEVICE_ATTRIBUTES:
                findings.append(file.at(node, f".{node.attr}: only device.py names devices"))
        for node, name in imported(file):
            if DEVICES & set(name.split(".")):
                findings.append(file.at(node, f"import {name}: only device.py names devices"))
    return findings


def is_shipped(file: File) -> bool:
    """Return whether it is code that users run: the sources of packages and tools, not tests."""
    return file.is_python and "/tests/" not in file.path and not file.path.startswith("integration")


def forbidden(file: File) -> Iterator[tuple[ast.AST, str]]:
    """Yield calls that read pickle or run foreign code, and bare prints."""
    for node in ast.walk(file.syntax):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "torch" and node.attr in ("load", "save"):
                yield node, f"torch.{node.attr} is pickle; use safetensors"
        elif isinstance(node, ast.keyword) and node.arg in SWITCHES:
            if not (isinstance(node.value, ast.Constant) and node.value.value is False):
                yield node, f"{node.arg} runs foreign code"
        elif isinstance(node, ast.Name) and node.id == "print":
            yield node, "print; use rich's Console where the program talks to people"
    for node, name in imported(file):
        if name.partition(".")[0] in PICKLES:
            yield node, f"{name} runs what it reads; use JSON or safetensors"


def check_forbidden(files: list[File]) -> list[str]:
    """Return findings: pickle, torch.load, trust_remote_code, print."""
    shipped = [file for file in files if is_shipped(file)]
    return [file.at(node, what) for file in shipped for node, what in forbidden(file)]


def passes_on(handler: ast.ExceptHandler) -> bool:
    """Return whether the error is raised again, or handed unchanged to code that raises it."""
    for node in ast.walk(handler):
        if isinstance(node, ast.Raise):
            return True
        handed: Sequence[ast.expr | None] = []
        if isinstance(node, ast.Return):
            handed = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            handed = node.args if node.func.attr in ("put", "set_exception") else []
        if any(isinstance(name, ast.Name) and name.id == handler.name for name in handed):
            return True
    return False


def check_handlers(files: list[File]) -> list[str]:
    """Return findings: handlers of all exceptions that do not pass the error on."""
    findings = []
    for file in filter(is_shipped, files):
        for node in ast.walk(file.syntax):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {name.id if isinstance(name, ast.Name) else name for name in caught}
            if names & {None, "Exception", "BaseException"} and not passes_on(node):
                findings.append(file.at(node, "hides every error; name those it means"))
    return findings
