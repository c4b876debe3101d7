"""Find the flags of this tree's commands in the documents, to compare with their --help."""

import re
from collections import defaultdict

from structure.tree import File

FENCE = re.compile(r"^```(?:shell|bash|sh|console)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(
    r"-m (jllm(?:\.\w+)+)|\b(tools/(?:bench/\w+\.py|quickstart\.sh))|^(jllm [a-z]\w*)"
)
FLAG = re.compile(r"(?<=\s)--?[a-zA-Z][\w-]*")
END = re.compile(r"[#|;&>]|\s-- ")


def documented(files: list[File]) -> dict[str, dict[str, str]]:
    """Return the flags in documents: {command: {flag: the document}}; commands as typed."""
    used: dict[str, dict[str, str]] = defaultdict(dict)
    for file in files:
        if not file.path.endswith(".md"):
            continue
        for block in FENCE.findall(file.text):
            for line in block.replace("\\\n", " ").splitlines():
                if found := COMMAND.search(line):
                    arguments = END.split(line[found.end() :])[0]
                    command = used[found[found.lastindex or 0]]
                    command |= {flag: file.path for flag in FLAG.findall(arguments)}
    return dict(used)


def unknown(flags: dict[str, str], usage: str) -> list[str]:
    """Return the flags that a --help does not name; - and _ are equivalent inside a flag."""
    known = {flag.replace("-", "_") for flag in re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", usage)}
    return [
        f"{document}: {flag}"
        for flag, document in flags.items()
        if flag.replace("-", "_") not in known
    ]
