"""Check that what the documents name exists: commands, files, labels, links."""

import os.path
import re
from collections.abc import Iterator

from structure.imports import ARROWS
from structure.tree import File

MODULE = re.compile(r"(?<=-m )jllm(?:\.\w+)+")
PATH = re.compile(
    r"(?<![\w./:-])(?:tools|docs|third_party|integration_tests|packages)/[\w./-]*+(?![<*])"
)
LABEL = re.compile(r"(?<![\w:/])//([a-z][\w/-]*)")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
COMMAND = re.compile(r"(?:^|`)jllm-[a-z0-9-]*[a-z0-9]", re.MULTILINE)


def named(file: File, scripts: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each thing a document names, with the paths of which one must exist."""
    for name in MODULE.findall(file.text):
        path = name.replace(".", "/")
        yield f"-m {name}", [f"src/{path}.py", f"src/{path}/__main__.py"]
    for path in PATH.findall(file.text):
        yield path, [path.rstrip("./-")]
    for path in LABEL.findall(file.text):
        yield f"//{path}", [path.rstrip("/")]
    for path in LINK.findall(file.text):
        yield path, [os.path.normpath(os.path.join(os.path.dirname(file.path), path))]
    for found in COMMAND.findall(re.sub(r"(jllm-[a-z]+)-v\d\S*", r"\1", file.text)):
        name = found.strip("`")
        if name not in ARROWS and name not in scripts:
            yield name, [f"packages/{name}"]


def check_documents(files: list[File]) -> list[str]:
    """Return findings: documents that name something that does not exist."""
    exist = {file.path for file in files}
    exist |= {path.split("/", 2)[2] for path in exist if re.match("packages/jllm[/-]", path)}
    exist |= {
        "/".join(path.split("/")[:n]) for path in exist for n in range(1, path.count("/") + 1)
    }
    scripts = set()
    for file in files:
        if file.path.endswith("pyproject.toml"):
            scripts |= set(re.findall(r"^(jllm-[\w-]+) = ", file.text, re.MULTILINE))
    return [
        f"{file.path}: {name} does not exist"
        for file in files
        if file.path.endswith(".md")
        for name, paths in named(file, scripts)
        if not exist.intersection(paths)
    ]
